// SPDX-License-Identifier: GPL-2.0-only
// doctor_guest.cpp - hwvctl doctor --guest: what a guest uses of what it is offered, as its
// registers and the keys of its exits tell.
#include <fstream>
#include <fmt/format.h>
#include "hwv/observer.hpp"
#include "hwv/system.hpp"
#include "hwvctl/control.hpp"
#include "hwvctl/doctor.hpp"

namespace hwvctl {
namespace {

// Linux, Documentation/virt/kvm/x86/msr.rst and hypercalls.rst.
constexpr std::uint32_t msr_clock = 0x4b564d01, msr_steal = 0x4b564d03, msr_eoi = 0x4b564d04;
constexpr std::uint64_t msr_deadline = 0x6e0, msr_timer_count = 0x838, msr_x2apic_eoi = 0x80b,
                        msr_x2apic_icr = 0x830;
constexpr std::uint64_t hypercall_ipi = 10;
constexpr std::uint64_t apic_page = 0xfee00000;
constexpr std::uint64_t apic_on = 1u << 11, apic_x2 = 1u << 10;
constexpr std::uint64_t cr0_paging = 1u << 31, efer_long = 1u << 10, cr4_pae = 1u << 5;

class Judge {
  public:
    explicit Judge(const GuestFacts &guest) : guest_{guest} {}
    Findings all() {
        mode();
        apic();
        timer();
        clock();
        end_of_interrupt();
        other_processors();
        huge_pages();
        return std::move(out_);
    }

  private:
    std::uint64_t count(unsigned reason, std::uint64_t key) const {
        const auto found = guest_.profile.keys.find({reason, key});
        return found == guest_.profile.keys.end() ? 0 : found->second.count;
    }
    std::uint64_t writes(std::uint64_t msr) const { return count(HWV_EXIT_MSR_WRITE, msr); }
    void ok(std::string what) { out_.push_back({Verdict::ok, std::move(what), {}}); }
    void warn(std::string what, std::string advice) {
        out_.push_back({Verdict::warning, std::move(what), std::move(advice)});
    }

    void mode() {
        const hwv_regs &r = guest_.regs;
        ok(!(r.cr0 & cr0_paging) ? "runs without paging"
           : r.efer & efer_long  ? "runs in 64-bit mode"
           : r.cr4 & cr4_pae     ? "runs in 32-bit mode with PAE"
                                 : "runs in 32-bit mode without PAE");
    }
    void apic() {
        const std::uint64_t base = guest_.regs.apic_base;
        const std::uint64_t in_memory = count(HWV_EXIT_PAGE_FAULT, apic_page);
        if (!(base & apic_on))
            warn("its local APIC is off: interrupts come through the PIC, by way of the launcher",
                 "a kernel with APIC support, not booted with noapic, nolapic");
        else if (base & apic_x2)
            ok("x2APIC: the local APIC's registers are MSRs");
        else
            warn(fmt::format("xAPIC: the local APIC's registers are in memory ({} exits)",
                             in_memory),
                 "x2APIC costs less: do not boot with nox2apic; CONFIG_X86_X2APIC");
    }
    void timer() {
        if (const auto deadlines = writes(msr_deadline))
            ok(fmt::format("APIC timer by TSC deadline, set {} times", deadlines));
        else if (const auto counts = writes(msr_timer_count))
            warn(fmt::format("APIC timer by counts, set {} times, and not by TSC deadline", counts),
                 "do not boot with lapic=notscdeadline or clearcpuid=tsc_deadline_timer");
        else
            warn("no sign of the APIC timer among its exits",
                 "a guest that keeps time by the PIT or the RTC exits to user for it");
    }
    // Bit 0 of each says that it is in use.
    void paravirtual(std::uint32_t msr, const std::string &in_use, const std::string &left_out,
                     const std::string &advice) {
        const auto found = guest_.msrs.find(msr);
        if (found == guest_.msrs.end()) return;
        (found->second & 1) != 0 ? ok(in_use) : warn(left_out, advice);
    }
    void clock() {
        paravirtual(msr_clock, "kvmclock is in use: time is read from a page, without an exit",
                    "kvmclock is not in use",
                    "CONFIG_KVM_GUEST; do not boot with nopv or no-kvmclock");
        paravirtual(msr_steal, "steal time is in use: the guest knows when others had its CPU",
                    "steal time is not in use", "do not boot with nopv or no-steal-acc");
        if (guest_.msrs.empty())
            warn("its launcher does not tell its MSRs: nothing is known of kvmclock, steal time, "
                 "PV EOI",
                 "ask as its owner or as root, of a guest of this version's hwvctl run");
    }
    void end_of_interrupt() {
        const std::uint64_t ends = writes(msr_x2apic_eoi);
        paravirtual(
            msr_eoi,
            fmt::format("PV EOI is in use; {} ends of interrupts exited nevertheless", ends),
            fmt::format("PV EOI is not in use: {} ends of interrupts exited", ends),
            "CONFIG_KVM_GUEST; do not boot with nopv");
    }
    void other_processors() {
        const std::uint64_t batches = count(HWV_EXIT_HYPERCALL, hypercall_ipi);
        const std::uint64_t singles = writes(msr_x2apic_icr);
        if (batches)
            ok(fmt::format("PV IPI: {} for several processors at once, {} single ones", batches,
                           singles));
        else if (singles)
            warn(fmt::format("{} interrupts between processors, each an exit; no PV IPI", singles),
                 "CONFIG_KVM_GUEST; do not boot with nopv");
    }
    void huge_pages() {
        if (!guest_.resident) return;
        const auto share = 100 * guest_.in_huge_pages / guest_.resident;
        const std::string what = fmt::format(
            "{} % of {} MiB that the VM has touched are huge pages", share, guest_.resident >> 20);
        if (share >= 50)
            ok(what);
        else
            warn(what, "echo madvise >/sys/kernel/mm/transparent_hugepage/enabled; run without "
                       "--no-hugepages");
    }

    const GuestFacts &guest_;
    Findings out_;
};

// "Rss:    1234 kB" of /proc/PID/smaps_rollup, which only the owner and root may read.
void read_memory_use(std::uint32_t pid, GuestFacts &facts) {
    std::ifstream file{"/proc/" + std::to_string(pid) + "/smaps_rollup"};
    std::string line;
    while (std::getline(file, line)) {
        const auto kib = [&line](std::size_t from) {
            return std::strtoull(line.c_str() + from, nullptr, 10) << 10;
        };
        if (line.starts_with("Rss:")) facts.resident = kib(4);
        if (line.starts_with("AnonHugePages:")) facts.in_huge_pages = kib(14);
    }
}

void ask_msrs(const hwv_vm_entry &vm, GuestFacts &facts) {
    const std::vector<std::uint32_t> which{msr_clock, msr_steal, msr_eoi};
    try {
        const nlohmann::json head = ControlClient{vm}.ask("msrs", {{"which", which}}).head;
        const auto values = head.value("values", std::vector<std::uint64_t>{});
        for (std::size_t i = 0; i < which.size() && i < values.size(); ++i)
            facts.msrs[which[i]] = values[i];
    } catch (const hwv::Error &) { // another launcher's: the other facts remain
    }
}

} // namespace

Findings judge_guest(const GuestFacts &guest) { return Judge{guest}.all(); }

GuestFacts look_at_guest(const std::string &name) {
    hwv::Observer observer = hwv::attach(name);
    const std::vector<std::uint32_t> vcpus = observer.vcpus();
    if (vcpus.empty()) throw hwv::Error{ENOENT, "VM '" + name + "' has no vCPU yet"};
    GuestFacts facts;
    std::vector<hwv::Stats> stats;
    for (const std::uint32_t vcpu : vcpus)
        stats.push_back(observer.stats(vcpu).read());
    facts.profile = records::profile_of("VM " + name, hwv::System{}.info().tsc_khz, stats);
    ask_msrs(observer.info(), facts);
    observer.pause();
    facts.regs = observer.registers(vcpus.front());
    observer.resume();
    read_memory_use(observer.info().pid, facts);
    return facts;
}

} // namespace hwvctl
