// SPDX-License-Identifier: GPL-2.0-only
// pv.hpp - the paravirtual records that a guest asks for: clock, wall clock, steal time, end of
// interrupt. Source: Linux, Documentation/virt/kvm/x86/msr.rst and
// Documentation/virt/kvm/x86/timekeeping.rst; layouts in <asm/pvclock-abi.h> and <asm/kvm_para.h>.
#pragma once
#include <cstddef>
#include <cstdint>

namespace hwv::cpu {

// What the guest wrote to the MSRs of the paravirtual records; 0: off.
struct PvState {
    std::uint64_t system_time = 0; // gpa, bit 0: enabled
    std::uint64_t wall_clock = 0;  // gpa
    std::uint64_t steal_time = 0;  // gpa, bit 0: enabled
    std::uint64_t eoi = 0;         // gpa, bit 0: enabled
};

// One vCPU's clock: ns = system_time + ((tsc - tsc_timestamp) << shift) * mul / 2^32.
struct PvClock {
    std::uint32_t version; // odd: being written
    std::uint32_t pad0;
    std::uint64_t tsc_timestamp;
    std::uint64_t system_time;
    std::uint32_t tsc_to_system_mul;
    std::int8_t tsc_shift;
    std::uint8_t flags;
    std::uint8_t pad[2];
};
static_assert(sizeof(PvClock) == 32 && offsetof(PvClock, tsc_timestamp) == 8 &&
              offsetof(PvClock, tsc_to_system_mul) == 24);
inline constexpr std::uint8_t pv_clock_stable = 1u << 0; // all vCPUs' clocks are one
inline constexpr std::uint8_t pv_clock_paused = 1u << 1; // the guest was stopped

struct PvWallClock {
    std::uint32_t version;
    std::uint32_t seconds;
    std::uint32_t nanoseconds;
};
static_assert(sizeof(PvWallClock) == 12);

// The first part of a record of 64 bytes; the byte behind it is written by the guest, too.
struct PvSteal {
    std::uint64_t steal; // ns runnable but not running
    std::uint32_t version;
    std::uint32_t flags;
};
static_assert(sizeof(PvSteal) == 16);
inline constexpr std::uint64_t pv_preempted_at = sizeof(PvSteal);
// Of that byte. Set by the host: the vCPU is not on a CPU. Set by another vCPU of the guest while
// it is so: translations are to be dropped before it runs again.
inline constexpr std::uint8_t pv_preempted = 1u << 0, pv_flush_wanted = 1u << 1;
constexpr std::uint64_t pv_steal_gpa(std::uint64_t msr) { return msr & ~0x3full; }

// mul and shift for a TSC of this frequency.
struct PvScale {
    std::uint32_t mul = 0;
    std::int8_t shift = 0;
};
PvScale pv_scale(std::uint32_t tsc_khz);
std::uint64_t pv_ticks_to_ns(const PvScale &scale, std::uint64_t ticks);

// A reading of the guest's TSC and of its time that belong together. The same pair serves all
// vCPUs, else the clock is not stable.
struct PvMoment {
    std::uint64_t guest_tsc;
    std::uint64_t ns;
};
PvClock pv_clock(const PvMoment &moment, const PvScale &scale, std::uint8_t flags);

// The wall clock when the guest's time was 0.
PvWallClock pv_wall_clock(std::uint64_t wall_ns_now, std::uint64_t guest_ns_now);

inline constexpr std::uint64_t pv_enabled = 1;

// A record is written in three steps, so that the guest notices a torn reading: version odd, body,
// version even. Writer: bool (gpa, const void *, bytes). False as soon as a write fails.
template <typename Record, typename Writer>
bool pv_publish(std::uint64_t gpa, Record &record, std::uint32_t last_version, Writer &&write) {
    const std::uint64_t version_at = gpa + offsetof(Record, version);
    record.version = last_version | 1;
    if (!write(version_at, &record.version, sizeof(record.version))) return false;
    if (!write(gpa, &record, sizeof(record))) return false;
    ++record.version;
    return write(version_at, &record.version, sizeof(record.version));
}

// PV EOI. Before an entry that injects an interrupt the host sets the guest's byte; the guest
// clears it instead of writing EOI, where the host lets it (nothing else waits, edge-triggered).
// After the exit the host looks whether it did.
class PvEoi {
  public:
    bool armed() const { return armed_; }
    void reset() { armed_ = false; }

    // Before the entry; `may_skip`: the one interrupt in service is edge-triggered, nothing else is
    // requested. Writer: bool (gpa, const void *, bytes).
    template <typename Writer>
    void before_entry(std::uint64_t msr, bool may_skip, Writer &&write) {
        if (armed_ || !may_skip || !(msr & pv_enabled)) return;
        const std::uint8_t set = 1;
        armed_ = write(msr & ~pv_enabled, &set, sizeof(set));
    }

    enum class Seen : std::uint8_t {
        nothing,    // the guest has not come to it, and will write EOI now
        ended,      // the guest ended the interrupt: do its EOI
        unreadable, // still armed: ask again where sleeping is allowed
    };
    // After the exit, and as soon as something else comes to wait.
    // Reader: bool (gpa, void *, bytes).
    template <typename Reader, typename Writer>
    Seen after_exit(std::uint64_t msr, Reader &&read, Writer &&write) {
        if (!armed_) return Seen::nothing;
        std::uint8_t byte = 0;
        if (!read(msr & ~pv_enabled, &byte, sizeof(byte))) return Seen::unreadable;
        if (!(byte & 1)) {
            armed_ = false;
            return Seen::ended;
        }
        const std::uint8_t clear = byte & ~1;
        if (!write(msr & ~pv_enabled, &clear, sizeof(clear))) return Seen::unreadable;
        armed_ = false;
        return Seen::nothing;
    }

  private:
    bool armed_ = false;
};

} // namespace hwv::cpu
