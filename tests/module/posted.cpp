// SPDX-License-Identifier: GPL-2.0-only
// timeout: 60
// beds: vmx
// bed: --smp 2
// Interrupts for a guest that runs on another CPU: where the CPU takes posted ones, all arrive and
// the guest does not leave for them. Level-triggered ones, whose end somebody waits for, take it
// out.
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>
#include <sys/mman.h>
#include <thread>
#include <unistd.h>
#include "module/raw.hpp"
#include "module/report.hpp"

namespace {

using namespace std::chrono_literals;

constexpr std::uint8_t vector = 0x40;
constexpr std::uint64_t msi_address = 0xfee00000;
constexpr std::uint32_t level = 3u << 14; // level-triggered, asserted
constexpr int times = 300;

// The stack is touched first: Bochs forgets the vector of an interrupt that it delivers itself
// (APICv) where the frame meets an EPT violation.
//          push ax
//          pop  ax
//          sti
//          jmp  $
const std::string loop{"\x50\x58\xfb\xeb\xfe", 5};
// handler: inc  word [0x700]
//          mov  ecx, 0x80b      ; x2APIC EOI
//          xor  eax, eax
//          xor  edx, edx
//          wrmsr
//          iret
const std::string handler{
    "\xff\x06\x00\x07\x66\xb9\x0b\x08\x00\x00\x66\x31\xc0\x66\x31\xd2\x0f\x30\xcf", 19};

struct Sent {
    long host_interrupts, ends; // exits for them
    int handled;
};

struct Guest {
    Guest() {
        raw::map_program(vm, {"\xea\x00\x05\x00\x00", 5}); // jmp 0:0x500
        low = static_cast<char *>(
            ::mmap(nullptr, 0x10000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
        std::memcpy(low + 0x500, loop.data(), loop.size());
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
    int handled() const {
        return __atomic_load_n(reinterpret_cast<std::uint16_t *>(low + 0x700), __ATOMIC_ACQUIRE);
    }
    // One by one, `times`.
    Sent send(std::uint32_t data) const {
        hwv_vcpu_stats before{}, after{};
        raw::read_stats(vcpu, &before);
        const int first = handled();
        hwv_msi msi{.address = msi_address, .data = data};
        for (int i = 0; i < times; ++i) {
            const int seen = handled();
            raw::call(vm, HWV_MSI, &msi);
            for (auto end = std::chrono::steady_clock::now() + 2s; handled() == seen;)
                if (std::chrono::steady_clock::now() > end) return {-1, -1, handled() - first};
        }
        raw::read_stats(vcpu, &after);
        const auto exits = [&](hwv_exit_reason reason) {
            return static_cast<long>(after.exit[reason].count - before.exit[reason].count);
        };
        return {exits(HWV_EXIT_HOST_INTERRUPT), exits(HWV_EXIT_APIC_WRITE), handled() - first};
    }

    int vm = raw::create_vm(), vcpu = raw::create_vcpu(vm);
    hwv_run *run = raw::map_run(vcpu);
    char *low = nullptr;
};

// Of KVM's vector, which hwv notifies with.
long notifications() {
    std::ifstream table{"/proc/interrupts"};
    long sum = 0;
    for (std::string line; std::getline(table, line);) {
        std::istringstream words{line};
        std::string name;
        words >> name;
        if (name != "PIN:") continue;
        for (long n = 0; words >> n;)
            sum += n;
    }
    return sum;
}

bool posts() {
    hwv_info info{};
    const int device = raw::open_device();
    raw::call(device, HWV_GET_INFO, &info);
    ::close(device);
    return info.features & HWV_FEATURE_POSTED_INTERRUPTS;
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("posted", "this machine cannot run guests");
        return 0;
    }
    Guest guest;
    long result = 1;
    std::thread runner([&] { result = raw::call(guest.vcpu, HWV_RUN); });
    std::this_thread::sleep_for(50ms);
    const Sent edges = guest.send(vector), levels = guest.send(vector | level);
    expect("edges_arrive", edges.handled, times);
    expect("levels_arrive", levels.handled, times);
    const std::string exits = std::to_string(edges.host_interrupts) + " exits";
    if (posts()) {
        report("edges_need_no_exit", edges.host_interrupts < times / 3, exits);
        expect("edges_end_unseen", edges.ends, 0);
        report("levels_take_the_guest_out", levels.host_interrupts >= times,
               std::to_string(levels.host_interrupts) + " exits");
        expect("levels_end_seen", levels.ends, times);
    } else {
        skip("edges_need_no_exit", "this CPU does not post interrupts");
        report("edges_take_the_guest_out", edges.host_interrupts >= times, exits);
    }
    // those that came too late for the guest were the host's
    report("notified_in_the_guest", notifications() < times / 3,
           std::to_string(notifications()) + " notifications came to the host");
    raw::call(guest.vcpu, HWV_KICK);
    runner.join();
    expect("kicked", result, 0);
    return verdict();
}
