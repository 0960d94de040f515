// SPDX-License-Identifier: GPL-2.0-only
// paravirtual.cpp - the records that a guest asked for by KVM's paravirtual MSRs, kept up to date.
#include "core/vcpu.hpp"

namespace hwv {

bool Vcpu::write_guest(std::uint64_t gpa, const void *from, std::uint32_t bytes) {
    return static_cast<bool>(memory.write(gpa, from, bytes, slot_cache));
}

// All vCPUs of a VM share one moment, so that their clocks are one and the guest needs no lock
// around them. Where the CPUs' TSCs are not one clock there is none to share: each vCPU gets the
// moment of its arrival on a CPU, and the guest is told.
void Vcpu::write_clock() {
    if (!(pv.system_time & cpu::pv_enabled)) return;
    const bool stable = hwv_host_tsc_stable();
    const Vm::Moment moment = stable ? vm.moment() : vm.moment_here();
    cpu::PvClock clock =
        cpu::pv_clock({msrs.guest_tsc(moment.tsc), moment.ns}, cpu::pv_scale(vm.tsc_khz()),
                      stable ? cpu::pv_clock_stable : 0);
    (void)cpu::pv_publish(pv.system_time & ~cpu::pv_enabled, clock, clock_version,
                          [this](std::uint64_t gpa, const void *from, std::uint32_t bytes) {
                              return write_guest(gpa, from, bytes);
                          });
    clock_version = clock.version;
}

void Vcpu::write_wall_clock() {
    cpu::PvWallClock wall = cpu::pv_wall_clock(hwv_host_wall_ns(), vm.clock_ns());
    (void)cpu::pv_publish(pv.wall_clock, wall, 0,
                          [this](std::uint64_t gpa, const void *from, std::uint32_t bytes) {
                              return write_guest(gpa, from, bytes);
                          });
}

void Vcpu::write_steal() {
    if (!(pv.steal_time & cpu::pv_enabled)) return;
    if (shown_absent) take_back_absence();
    cpu::PvSteal record{};
    record.steal = hwv_host_steal_ns();
    (void)cpu::pv_publish(cpu::pv_steal_gpa(pv.steal_time), record, steal_version,
                          [this](std::uint64_t gpa, const void *from, std::uint32_t bytes) {
                              return static_cast<bool>(memory.write(gpa, from, bytes, steal_slot));
                          });
    steal_version = record.version;
}

// Other vCPUs leave a note from now on rather than wait for this one. Only between two
// instructions: one that is half done has used translations that they believe to be gone.
void Vcpu::show_absence() {
    if (!(pv.steal_time & cpu::pv_enabled) || shown_absent) return;
    const std::uint64_t at = cpu::pv_steal_gpa(pv.steal_time) + cpu::pv_preempted_at;
    shown_absent = memory.poke(at, cpu::pv_preempted, steal_slot);
}

// By one access, so that a note is either seen here or not left. If it cannot be seen, there is
// one.
void Vcpu::take_back_absence() {
    shown_absent = false;
    const std::uint64_t at = cpu::pv_steal_gpa(pv.steal_time) + cpu::pv_preempted_at;
    std::uint8_t byte = 0;
    if (!memory.exchange(at, byte, steal_slot) || (byte & cpu::pv_flush_wanted))
        put_back(request::flush);
}

void Vcpu::arm_pv_eoi(std::uint8_t vector) {
    if (!(pv.eoi & cpu::pv_enabled) || apic.is_level(vector)) return;
    pv_eoi.before_entry(pv.eoi, apic.sole_in_service(vector),
                        [this](std::uint64_t gpa, const void *from, std::uint32_t bytes) {
                            return static_cast<bool>(
                                memory.write(gpa, from, bytes, slot_cache, true));
                        });
}

void Vcpu::settle_pv_eoi(bool atomic) {
    using Seen = cpu::PvEoi::Seen;
    const auto read = [&](std::uint64_t gpa, void *to, std::uint32_t bytes) {
        return static_cast<bool>(memory.read(gpa, to, bytes, slot_cache, atomic));
    };
    const auto write = [&](std::uint64_t gpa, const void *from, std::uint32_t bytes) {
        return static_cast<bool>(memory.write(gpa, from, bytes, slot_cache, atomic));
    };
    const Seen seen = pv_eoi.after_exit(pv.eoi, read, write);
    if (seen == Seen::ended) (void)apic.end_of_interrupt();
    if (seen != Seen::unreadable) return;
    if (atomic)
        put_back(request::pv_eoi);
    else
        pv_eoi.reset(); // the guest's memory is gone
}

} // namespace hwv
