// SPDX-License-Identifier: GPL-2.0-only
// messages.cpp - what an IPI there and one back cost two vCPUs that share a CPU, under hwv and
// under KVM: each halts until it hears of the other, so that a round has two messages, two HLTs and
// two switches of threads. Prints "ipi_halted hwv|kvm COST" as exits.cpp does: TSC ticks of the
// guest's for a round, the median of some batches.
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <linux/kvm.h>
#include <memory>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <thread>
#include "conformance/guest.hpp"
#include "hwv/error.hpp"
#include "hwv/system.hpp"
#include "oracle/test_vm.hpp"

namespace {

constexpr std::size_t bytes = 0x10000, first_at = 0x2000, second_at = 0x1000, handler_at = 0x3000;
constexpr std::size_t rounds_at = 0x708, begin_at = 0x720, end_at = 0x728;
constexpr std::uint8_t vector = 0x40;
constexpr std::uint32_t rounds = 200;
constexpr unsigned batches = 5;

// clang-format off
#define X2APIC "push %ax\n pop %ax\n mov $0x1b, %ecx\n rdmsr\n or $0xc00, %eax\n wrmsr\n" \
               "mov $0x80f, %ecx\n mov $0x1ff, %eax\n xor %edx, %edx\n wrmsr\n"
#define SEND(to, what) "mov $0x830, %ecx\n mov $" to ", %edx\n mov $" what ", %eax\n wrmsr\n"
// clang-format on

GUEST_PART(
    first, 16,
    "mov $0x8000, %esp\n" X2APIC SEND("1", "0x4500")
        SEND("1", "0x4601") "sti\n"
                            "1: pause\n cmpl $0, 0x70c\n je 1b\n"
                            "2: mov 0x708, %esi\n rdtsc\n mov %eax, 0x720\n mov %edx, 0x724\n"
                            "3: cli\n mov 0x700, %edi\n" SEND(
                                "1",
                                "0x4040") "4: cmp %edi, 0x700\n jne 5f\n sti\n hlt\n cli\n jmp 4b\n"
                                          "5: sti\n dec %esi\n jnz 3b\n"
                                          "rdtsc\n mov %eax, 0x728\n mov %edx, 0x72c\n out %al, "
                                          "$0x11\n jmp 2b\n")
// In segment 0x100.
GUEST_PART(second, 16,
           ".byte 0xea\n .word 0x1005, 0\n mov $0x9000, %esp\n" X2APIC
           "movl $1, 0x70c\n sti\n 1: hlt\n jmp 1b\n")
// Counts by APIC id, ends the interrupt; the second one answers.
GUEST_PART(handler, 16,
           "mov $0x802, %ecx\n rdmsr\n mov %ax, %bx\n shl $2, %bx\n incl 0x700(%bx)\n"
           "mov $0x80b, %ecx\n xor %eax, %eax\n xor %edx, %edx\n wrmsr\n"
           "test %bx, %bx\n jz 1f\n" SEND("0", "0x4040") "1: iret\n")

class Pair {
  public:
    virtual ~Pair() { ::munmap(memory_, bytes); }
    virtual void run(unsigned id) = 0; // until it leaves to user, or a signal
    char *memory() { return memory_; }
    std::uint64_t word(std::size_t at) const {
        std::uint64_t value;
        std::memcpy(&value, memory_ + at, sizeof value);
        return value;
    }

  protected:
    Pair() {
        void *at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
        if (at == MAP_FAILED) hwv::fail("map memory");
        memory_ = static_cast<char *>(at);
        std::copy(guest_first_16, guest_first_16_end, memory_ + first_at);
        std::copy(guest_second_16, guest_second_16_end, memory_ + second_at);
        std::copy(guest_handler_16, guest_handler_16_end, memory_ + handler_at);
        const std::uint16_t entry[2] = {handler_at, 0};
        std::memcpy(memory_ + std::size_t{4} * vector, entry, sizeof entry);
        std::memcpy(memory_ + rounds_at, &rounds, sizeof rounds);
    }
    char *memory_;
};

class HwvPair final : public Pair {
  public:
    HwvPair() {
        vm_.set_memory(0, 0, 0, bytes, memory_);
        vcpus_[0].sync(0, HWV_REGS_ALL);
        hwv_regs &r = vcpus_[0].regs();
        r.rip = first_at;
        r.segment[HWV_CS].selector = 0;
        r.segment[HWV_CS].base = 0;
        vcpus_[0].sync(HWV_REGS_GPR | HWV_REGS_SEGMENT, 0);
    }
    void run(unsigned id) override {
        (void)vcpus_[id].run();
        vcpus_[id].clear_reply();
    }

  private:
    hwv::Vm vm_ = hwv::System{}.create_vm("", 0, hwv::Tenure::own);
    hwv::Vcpu vcpus_[2] = {vm_.create_vcpu(0), vm_.create_vcpu(1)};
};

int call(int fd, unsigned long request, const void *argument, const char *what) {
    const int result = ::ioctl(fd, request, argument);
    if (result < 0) hwv::fail(what);
    return result;
}

class KvmPair final : public Pair {
  public:
    KvmPair() : system_{::open("/dev/kvm", O_RDWR | O_CLOEXEC)} {
        vm_ = hwv::Fd{call(system_.get(), KVM_CREATE_VM, nullptr, "KVM_CREATE_VM")};
        kvm_enable_cap split{};
        split.cap = KVM_CAP_SPLIT_IRQCHIP;
        split.args[0] = 24;
        call(vm_.get(), KVM_ENABLE_CAP, &split, "split irqchip");
        kvm_userspace_memory_region region{};
        region.memory_size = bytes;
        region.userspace_addr = reinterpret_cast<std::uintptr_t>(memory_);
        call(vm_.get(), KVM_SET_USER_MEMORY_REGION, &region, "KVM_SET_USER_MEMORY_REGION");
        for (std::uintptr_t id : {0, 1}) {
            vcpus_[id] = hwv::Fd{call(vm_.get(), KVM_CREATE_VCPU,
                                      reinterpret_cast<const void *>(id), "KVM_CREATE_VCPU")};
            oracle::give_kvm_cpuid(system_.get(), vcpus_[id].get());
        }
        kvm_sregs s{};
        call(vcpus_[0].get(), KVM_GET_SREGS, &s, "KVM_GET_SREGS");
        s.cs.selector = 0;
        s.cs.base = 0;
        call(vcpus_[0].get(), KVM_SET_SREGS, &s, "KVM_SET_SREGS");
        kvm_regs r{};
        r.rip = first_at;
        r.rflags = 2;
        call(vcpus_[0].get(), KVM_SET_REGS, &r, "KVM_SET_REGS");
    }
    void run(unsigned id) override { (void)::ioctl(vcpus_[id].get(), KVM_RUN, 0); }

  private:
    hwv::Fd system_, vm_, vcpus_[2];
};

// The second vCPU's thread, until a signal finds it told to stop.
class Answering {
  public:
    explicit Answering(Pair &pair)
        : thread_{[this, &pair] {
              while (!stop_)
                  pair.run(1);
              stopped_ = true;
          }} {}
    ~Answering() {
        stop_ = true;
        while (!stopped_) {
            ::pthread_kill(thread_.native_handle(), SIGUSR1);
            std::this_thread::sleep_for(std::chrono::milliseconds{1});
        }
        thread_.join();
    }

  private:
    std::atomic<bool> stop_{false}, stopped_{false};
    std::thread thread_;
};

double measure(Pair &pair) {
    const Answering answering{pair};
    std::vector<double> costs;
    for (unsigned batch = 0; batch <= batches; ++batch) {
        pair.run(0);
        const auto ticks = static_cast<double>(pair.word(end_at) - pair.word(begin_at));
        if (batch) costs.push_back(ticks / rounds); // the first one pages in
    }
    std::ranges::nth_element(costs, costs.begin() + batches / 2);
    return costs[batches / 2];
}

std::unique_ptr<Pair> make(oracle::Kind kind) {
    if (kind == oracle::Kind::hwv) return std::make_unique<HwvPair>();
    return std::make_unique<KvmPair>();
}

} // namespace

int main() {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &action, nullptr);
    for (const oracle::Kind kind : {oracle::Kind::hwv, oracle::Kind::kvm}) {
        if (!oracle::available(kind)) {
            std::printf("skip %s - no device\n", oracle::name(kind));
            continue;
        }
        try {
            std::printf("ipi_halted %s %.0f\n", oracle::name(kind), measure(*make(kind)));
            std::fflush(stdout);
        } catch (const std::exception &e) {
            std::fprintf(stderr, "messages: %s: %s\n", oracle::name(kind), e.what());
            return 1;
        }
    }
    return 0;
}
