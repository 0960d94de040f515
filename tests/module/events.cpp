// SPDX-License-Identifier: GPL-2.0-only
// timeout: 90
// bed: --smp 2
// Events into and out of a guest that halts in the kernel: irqfd, resample, MSI, ioeventfd, kick,
// signal. Each is repeated at varying moments, because a wake-up that is lost is lost in a window
// of a few instructions.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <poll.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

using namespace std::chrono_literals;
using Clock = std::chrono::steady_clock;

constexpr std::uint8_t vector = 0x40;
constexpr std::uint64_t msi_address = 0xfee00000, hole = 0x80000;
constexpr std::uint16_t port = 0x21;

// The stack is touched first: Bochs forgets the vector of an interrupt that it delivers itself
// (APICv) where the frame meets an EPT violation.
//          push ax
//          pop  ax
// wait:    sti
//          hlt
//          jmp  wait
const std::string wait_loop{"\x50\x58\xfb\xf4\xeb\xfc", 6};
// handler: mov  ecx, 0x80b      ; x2APIC EOI
//          xor  eax, eax
//          xor  edx, edx
//          wrmsr
//          mov  ax, 0x8000
//          mov  ds, ax
//          mov  [0], al         ; at `hole`
//          out  0x21, al
//          iret
const std::string handler{"\x66\xb9\x0b\x08\x00\x00\x66\x31\xc0\x66\x31\xd2\x0f\x30"
                          "\xb8\x00\x80\x8e\xd8\x88\x06\x00\x00\xe6\x21\xcf",
                          26};

class Guest {
  public:
    Guest() {
        raw::map_program(vm, {"\xea\x00\x05\x00\x00", 5}); // jmp 0:0x500
        auto *low = static_cast<char *>(
            ::mmap(nullptr, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        std::memcpy(low + 0x500, wait_loop.data(), wait_loop.size());
        std::memcpy(low + 0x600, handler.data(), handler.size());
        const std::uint16_t entry[2] = {0x600, 0};
        std::memcpy(low + 4 * vector, entry, sizeof entry);
        hwv_memory slot{.slot = 1, .size = 0x10000, .hva = reinterpret_cast<std::uint64_t>(low)};
        raw::call(vm, HWV_SET_MEMORY, &slot);
        hwv_apic_reg enable{.offset = 0xf0, .value = 0x1ff, .flags = HWV_APIC_REG_SET};
        raw::call(vcpu, HWV_APIC_REG, &enable);
        hwv_msr_entry base{.index = 0x1b, .value = msi_address | 0xd00}; // enabled, x2APIC, BSP
        hwv_msrs msrs{1, HWV_MSRS_SET, reinterpret_cast<std::uint64_t>(&base)};
        expect("x2apic", raw::call(vcpu, HWV_MSRS, &msrs), 1);
    }

    // In a thread of its own until stopped; counts what reaches user.
    void start() {
        stopping = false;
        runner = std::thread([this] {
            while (!stopping) {
                result = raw::call(vcpu, HWV_RUN);
                if (result == -EINTR)
                    ++signals;
                else if (result < 0)
                    return;
                else if (run->exit.reason == HWV_EXIT_IO)
                    ++outs;
                else if (run->exit.reason == HWV_EXIT_MMIO)
                    ++stores;
                else if (run->exit.reason == HWV_EXIT_KICKED)
                    ++kicks;
                else
                    return;
            }
        });
    }
    void stop() {
        stopping = true;
        raw::call(vcpu, HWV_KICK);
        runner.join();
    }

    int vm = raw::create_vm(), vcpu = raw::create_vcpu(vm);
    hwv_run *run = raw::map_run(vcpu);
    std::atomic<int> outs{0}, stores{0}, kicks{0}, signals{0};
    std::atomic<long> result{0};
    std::atomic<bool> stopping{false};
    std::thread runner;
};

template <typename F>
bool wait_until(F done) {
    for (auto end = Clock::now() + 2s; !done(); std::this_thread::yield())
        if (Clock::now() > end) return false;
    return true;
}

void add(int event) {
    std::uint64_t one = 1;
    (void)!::write(event, &one, sizeof one);
}

long take(int event) {
    std::uint64_t count = 0;
    return ::read(event, &count, sizeof count) == sizeof count ? static_cast<long>(count) : 0;
}

// Does something, waits for what it leads to, `times` times at varying distances; false at the
// first that does not come.
template <typename Act, typename Count>
void repeat(const std::string &name, int times, Act act, Count count) {
    int good = 0;
    for (int i = 0; i < times; ++i) {
        auto before = count();
        for (auto end = Clock::now() + std::chrono::microseconds(7 * i % 400);
             Clock::now() < end;) {}
        act();
        if (!wait_until([&] { return count() != before; })) break;
        ++good;
    }
    expect(name, good, times);
}

void check_irqfd(Guest &guest) {
    int event = ::eventfd(0, EFD_NONBLOCK), resample = ::eventfd(0, EFD_NONBLOCK);
    constexpr std::uint32_t level = 3u << 14; // level-triggered, asserted
    hwv_irqfd request{event, resample, HWV_IRQFD_RESAMPLE, vector | level, msi_address};
    expect("irqfd", raw::call(guest.vm, HWV_IRQFD, &request), 0);
    add(event); // before the vCPU runs
    guest.start();
    report("irqfd_before_run", wait_until([&] { return guest.outs == 1; }), "no interrupt");
    repeat(
        "irqfd_wakes", 300, [&] { add(event); }, [&] { return guest.outs.load(); });
    expect("irqfd_resampled", take(resample), 301);
    expect("irqfd_consumes", take(event), 0);
    request.flags = HWV_IRQFD_DEASSIGN;
    expect("irqfd_deassign", raw::call(guest.vm, HWV_IRQFD, &request), 0);
    int before = guest.outs;
    add(event);
    std::this_thread::sleep_for(20ms);
    expect("irqfd_is_gone", guest.outs, before);
    expect("irqfd_leaves_the_count", take(event), 1);
    request.flags = 0;
    raw::call(guest.vm, HWV_IRQFD, &request);
    ::close(event); // takes the irqfd along
    ::close(resample);
    guest.stop();
}

void check_msi(Guest &guest) {
    hwv_msi msi{.address = msi_address, .data = vector};
    guest.start();
    long accepted = 0;
    repeat(
        "msi_wakes", 300, [&] { accepted += raw::call(guest.vm, HWV_MSI, &msi); },
        [&] { return guest.outs.load(); });
    expect("msi_accepted", accepted, 300);
    guest.stop();
}

void check_kick_and_signal(Guest &guest) {
    struct sigaction action {};
    action.sa_handler = [](int) {};
    ::sigaction(SIGUSR1, &action, nullptr);
    guest.start();
    repeat(
        "kick_wakes", 300, [&] { raw::call(guest.vcpu, HWV_KICK); },
        [&] { return guest.kicks.load(); });
    // A signal that comes between two runs is handled there: again, until one ends a run.
    repeat(
        "signal_wakes", 50,
        [&] {
            int before = guest.signals;
            for (int i = 0; i < 100 && guest.signals == before; ++i) {
                ::pthread_kill(guest.runner.native_handle(), SIGUSR1);
                std::this_thread::sleep_for(1ms);
            }
        },
        [&] { return guest.signals.load(); });
    guest.stop();
}

void check_ioeventfd(Guest &guest) {
    int out = ::eventfd(0, EFD_NONBLOCK), store = ::eventfd(0, EFD_NONBLOCK);
    hwv_ioeventfd by_port{.address = port, .length = 1, .fd = out, .flags = HWV_IOEVENTFD_PIO};
    hwv_ioeventfd other{.address = port,
                        .datamatch = 7,
                        .length = 1,
                        .fd = out,
                        .flags = HWV_IOEVENTFD_PIO | HWV_IOEVENTFD_DATAMATCH};
    hwv_ioeventfd by_address{.address = hole, .fd = store};
    hwv_msi msi{.address = msi_address, .data = vector};
    raw::call(guest.vm, HWV_IOEVENTFD, &other); // the guest writes 0: never taken
    guest.start();
    repeat(
        "ioeventfd_other_data", 5, [&] { raw::call(guest.vm, HWV_MSI, &msi); },
        [&] { return guest.outs.load(); });
    other.flags |= HWV_IOEVENTFD_DEASSIGN;
    raw::call(guest.vm, HWV_IOEVENTFD, &other);
    expect("ioeventfd_port", raw::call(guest.vm, HWV_IOEVENTFD, &by_port), 0);
    expect("ioeventfd_address", raw::call(guest.vm, HWV_IOEVENTFD, &by_address), 0);
    int outs = guest.outs, stores = guest.stores;
    long signalled = 0, stored = 0;
    repeat(
        "ioeventfd_signals", 100, [&] { raw::call(guest.vm, HWV_MSI, &msi); },
        [&] {
            signalled += take(out);
            stored += take(store);
            return signalled;
        });
    expect("ioeventfd_address_too", stored, 100);
    expect("ioeventfd_stays_inside", guest.outs - outs + guest.stores - stores, 0);
    guest.stop();
    ::close(out);
    ::close(store);
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("events", "this machine cannot run guests");
        return 0;
    }
    Guest guest;
    check_irqfd(guest);
    check_msi(guest);
    check_kick_and_signal(guest);
    check_ioeventfd(guest);
    return verdict();
}
