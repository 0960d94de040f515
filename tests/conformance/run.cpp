// SPDX-License-Identifier: GPL-2.0-only
// run.cpp - all cases, first under hwv, then under KVM.
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <map>
#include <regex>
#include "conformance/judge.hpp"
#include "oracle/hwv_vm.hpp"

namespace conformance {
namespace {

struct Item {
    Case c;
    std::function<std::string()> test; // instead of the case
    std::string wrong;
    Result result;
    bool reported = false;
};
std::vector<Item> items;
unsigned failures = 0;
std::string filter;

struct Entry {
    const char *name;
    void (*cases)();
};
std::vector<Entry> &topics() {
    static std::vector<Entry> all;
    return all;
}

void collect() {
    std::sort(topics().begin(), topics().end(),
              [](const Entry &a, const Entry &b) { return std::strcmp(a.name, b.name) < 0; });
    for (const Entry &topic : topics())
        topic.cases();
    if (filter.empty()) return;
    const std::regex wanted{filter};
    std::erase_if(items, [&](const Item &i) { return !std::regex_search(i.c.name, wanted); });
}

// VMs are made once for each set of options, and anew for a case that leaves something behind.
class Vms {
  public:
    explicit Vms(oracle::Kind kind, bool trapped = false) : kind_{kind}, trapped_{trapped} {}
    TestVm &of(const Case &c) {
        own_.reset();
        if (c.fresh) return *(own_ = make(c));
        auto &vm = shared_[c.options.apic];
        if (!vm) vm = make(c);
        return *vm;
    }
    void forget(const Case &c) { shared_[c.options.apic].reset(); }

  private:
    // Bochs 2.7 loses RIP, and 3.0 sets RF, where the delivery of an event meets a page that nested
    // paging does not map yet: the first MiB is mapped before the first case.
    std::unique_ptr<TestVm> make(const Case &c) {
        static constexpr std::uint8_t touch[] = {
            0x31, 0xff,                         // xor %edi,%edi
            0xf0, 0x80, 0x0f, 0x00,             // 1: lock orb $0,(%rdi)
            0x81, 0xc7, 0x00, 0x10, 0x00, 0x00, // add $4096,%edi
            0x81, 0xff, 0x00, 0x00, 0x10, 0x00, // cmp $0x100000,%edi
            0x72, 0xee,                         // jb 1b
            0xe6, 0x80,                         // out %al,$0x80
        };
        oracle::Options options = c.options;
        options.trapped = trapped_;
        auto vm = oracle::make_vm(kind_, options);
        hwv_regs regs = oracle::long_mode(vm->memory(), at_code);
        regs.apic_base = vm->regs().apic_base;
        std::copy(std::begin(touch), std::end(touch), vm->memory().begin() + at_code);
        vm->set_regs(regs, HWV_REGS_ALL);
        if (vm->run().reason != HWV_EXIT_IO) throw std::runtime_error{"memory cannot be touched"};
        return vm;
    }

    oracle::Kind kind_;
    bool trapped_;
    std::map<bool, std::unique_ptr<TestVm>> shared_;
    std::unique_ptr<TestVm> own_;
};

template <typename Call>
std::string guarded(Vms &vms, const Case &c, Call call) {
    try {
        return call();
    } catch (const std::exception &e) {
        vms.forget(c); // its state is not known
        return e.what();
    }
}

void print(Item &item) {
    if (item.wrong.empty())
        std::printf("ok %s\n", item.c.name.c_str());
    else
        std::printf("not ok %s - %s\n", item.c.name.c_str(), item.wrong.c_str());
    std::fflush(stdout);
    failures += !item.wrong.empty();
    item.reported = true;
    item.result = {};
}

// Bochs 3.0 loads the host's EFER at an exit before it lets go of the guest's RFLAGS.
std::string why_unjudged(const Case &c) {
    if (on_qemu72()) return c.unjudged;
    if (on_bochs_vmx()) return c.unjudged_bochs_vmx;
    if (!on_bochs_svm()) return {};
    return c.mode == Mode::v86 ? bochs::v86 : c.unjudged_bochs_svm;
}

// For the log alone: an emulator that ends at a case says nothing of it.
void announce(const char *who, const Case &c) {
    std::printf("%s: %s\n", who, c.name.c_str());
    std::fflush(stdout);
}

void under_hwv(bool trapped) {
    Vms vms{oracle::Kind::hwv, trapped};
    for (Item &item : items) {
        const Case &c = item.c;
        if (const std::string why = why_unjudged(c); !why.empty()) {
            std::printf("skip %s - %s\n", c.name.c_str(), why.c_str());
            item.reported = true;
            continue;
        }
        announce("hwv", c);
        const unsigned attempts = on_qemu72() ? c.attempts : 1;
        for (unsigned n = 0; n < attempts && (!n || !item.wrong.empty()); ++n)
            item.wrong = guarded(vms, c, [&] {
                if (item.test) return item.test();
                item.result = run_once(vms.of(c), c);
                const std::string wrong = against_manual(c, item.result);
                item.result.before = item.result.after = {};
                return wrong;
            });
        if (!item.wrong.empty() || item.test || !c.kvm_differs.empty()) print(item);
    }
}

// An emulator's timer may fall on another instruction in KVM's run than in ours, which was right by
// the manual: KVM alone is asked once more, our run stands as it was.
unsigned oracle_runs(const Case &c) { return std::max(2u, on_qemu72() ? c.attempts : 1); }

std::string ask_kvm(Vms &vms, const Case &c, const Result &ours) {
    return guarded(vms, c, [&] { return against_oracle(c, ours, run_once(vms.of(c), c)); });
}

void under_kvm() {
    Vms vms{oracle::Kind::kvm};
    for (Item &item : items) {
        if (item.reported) continue;
        const Case &c = item.c;
        announce("right under hwv, kvm", c);
        item.wrong = ask_kvm(vms, c, item.result);
        for (unsigned n = 1; n < oracle_runs(c) && !item.wrong.empty(); ++n) {
            std::printf("# %s - the oracle is asked again: %s\n", c.name.c_str(),
                        item.wrong.c_str());
            item.wrong = ask_kvm(vms, c, item.result);
        }
        print(item);
    }
}

} // namespace

void add(Case c) { items.push_back({.c = std::move(c)}); }

void add(std::string name, std::function<std::string()> test, std::string unjudged,
         std::string unjudged_bochs_svm, std::string unjudged_bochs_vmx) {
    Item item{.c = {.name = std::move(name), .mode = Mode::long64}, .test = std::move(test)};
    item.c.unjudged = std::move(unjudged);
    item.c.unjudged_bochs_svm = std::move(unjudged_bochs_svm);
    item.c.unjudged_bochs_vmx = std::move(unjudged_bochs_vmx);
    items.push_back(std::move(item));
}

Topic::Topic(const char *name, void (*cases)()) { topics().push_back({name, cases}); }

// A guest that never stops is ended by a signal: HWV_EXIT_KICKED.
void limit_runs() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGALRM, &action, nullptr); // without SA_RESTART
}

// That there were such exits, of reasons that the cases have on every CPU.
void report_trapped() {
    for (const hwv_exit_reason reason :
         {HWV_EXIT_RDTSC, HWV_EXIT_INVLPG, HWV_EXIT_CR_READ, HWV_EXIT_CR_WRITE, HWV_EXIT_DR_ACCESS,
          HWV_EXIT_MSR_READ, HWV_EXIT_MSR_WRITE, HWV_EXIT_EXCEPTION}) {
        if (reason == HWV_EXIT_EXCEPTION && on_bochs_svm()) continue;
        Item item{.c = {.name = "TRAPPED/" + std::to_string(reason), .mode = Mode::long64}};
        if (!oracle::trapped_exits()[reason]) item.wrong = "no exit for this reason";
        items.push_back(item);
    }
}

int run_topics(const char *only, bool trapped) {
    limit_runs();
    filter = only ? only : "";
    collect();
    under_hwv(trapped);
    if (trapped && filter.empty()) report_trapped();
    if (!trapped && oracle::available(oracle::Kind::kvm)) under_kvm();
    for (Item &item : items)
        if (!item.reported) print(item); // no oracle: by the manual alone
    std::printf("1..%zu\n", items.size());
    return failures ? 1 : 0;
}

} // namespace conformance
