// SPDX-License-Identifier: GPL-2.0-only
// advise_rules.hpp - the knowledge behind advise: exits, their cause, and the remedy. Each exit
// belongs to the first rule that has it.
#pragma once
#include <cstdint>
#include "hwv.h"

namespace records {

struct Rule {
    const char *id;
    unsigned reason;
    std::uint64_t first, last; // keys
    const char *what, *why, *setting;
};

inline constexpr std::uint64_t any_key = ~0ull;

inline constexpr Rule rules[] = {
    {"xapic", HWV_EXIT_PAGE_FAULT, 0xfee00000, 0xfee00fff, "local APIC through memory (xAPIC)",
     "each access to an APIC register is a nested page fault and an instruction to decode",
     "x2APIC: do not boot the guest with nox2apic or apic=off; its kernel needs CONFIG_X86_X2APIC"},
    {"ioapic", HWV_EXIT_PAGE_FAULT, 0xfec00000, 0xfec00fff, "the I/O APIC's registers",
     "interrupts by line are set up, masked and acknowledged in memory that leaves to user",
     "devices with MSI (PCI, virtio) rather than lines; a console other than the UART"},
    {"tsc-frequency", HWV_EXIT_IO, 0x40, 0x43,
     "the PIT: the guest measures its TSC or keeps time by it",
     "a kernel that is not told the frequency of its TSC counts PIT ticks in a loop",
     "tell it: Linux reads it from KVM's clock (do not boot with nopv or no-kvmclock) or takes "
     "tsc_early_khz=KHZ; hwvctl run --no-legacy leaves the PIT out"},
    {"tsc-frequency", HWV_EXIT_IO, 0x61, 0x61, "the PIT's gate: the guest measures its TSC",
     "a kernel that is not told the frequency of its TSC polls port 0x61 until the PIT has run out",
     "tell it: Linux reads it from KVM's clock (do not boot with nopv or no-kvmclock) or takes "
     "tsc_early_khz=KHZ; hwvctl run --no-legacy leaves the PIT out"},
    {"acpi-timer", HWV_EXIT_IO, 0x608, 0x60b, "the ACPI timer as a clock",
     "each reading of the time is an exit to user",
     "another clock: the guest's clocksource=tsc or kvm-clock"},
    {"io-delay", HWV_EXIT_IO, 0x80, 0x80, "writes to port 0x80, which only pass time",
     "Linux waits for old devices by an access to this port", "the guest's io_delay=none"},
    {"serial", HWV_EXIT_IO, 0x3f8, 0x3ff, "the serial console (COM1)",
     "each character is several exits to user: status, data, interrupt",
     "write less: the guest's quiet or loglevel=3, its console elsewhere; run with --serial null "
     "where "
     "nobody reads"},
    {"serial", HWV_EXIT_IO, 0x2f8, 0x2ff, "the serial port COM2",
     "each character is several exits to user: status, data, interrupt", "write less to it"},
    {"debug-console", HWV_EXIT_IO, 0x402, 0x402, "the debug console",
     "each byte is an exit to user", "a guest firmware or kernel without its debug messages"},
    {"pic", HWV_EXIT_IO, 0x20, 0x21, "the interrupt controller PIC",
     "its registers are ports; with an APIC nobody needs it", "hwvctl run --no-legacy"},
    {"pic", HWV_EXIT_IO, 0xa0, 0xa1, "the interrupt controller PIC",
     "its registers are ports; with an APIC nobody needs it", "hwvctl run --no-legacy"},
    {"keyboard", HWV_EXIT_IO, 0x60, 0x64, "the keyboard controller",
     "Linux looks for a keyboard and a mouse, with waits",
     "hwvctl run --no-legacy, or the guest's i8042.noprobe"},
    {"rtc", HWV_EXIT_IO, 0x70, 0x71, "the real-time clock",
     "each byte of the date is two exits to user",
     "read the date once; Linux: no hwclock in a loop"},
    {"pci-config", HWV_EXIT_IO, 0xcf8, 0xcff, "PCI configuration",
     "devices are looked for one by one", "the guest's pci=off where it has no PCI device"},
    {"disk", HWV_EXIT_IO, 0x1f0, 0x1f7, "an IDE disk by ports",
     "the guest moves or asks for each sector by port accesses that leave to user",
     "a paravirtual disk, whose queue is memory, with an eventfd for its notify port "
     "(HWV_IOEVENTFD)"},
    {"port-notify", HWV_EXIT_IO, 0, any_key, "other ports",
     "a device of the launcher's is reached by port accesses that leave to user",
     "doorbells: HWV_IOEVENTFD on the port spares the way to user; what is only polled: a device "
     "with "
     "interrupts (net, disk: virtio)"},
    {"timer", HWV_EXIT_MSR_WRITE, 0x6e0, 0x6e0, "setting the APIC timer (TSC deadline)",
     "each timer that the guest sets is an exit",
     "fewer timers: the guest's nohz=on, nohz_full=, a kernel of HZ=100 or 250; fewer short "
     "sleeps"},
    {"timer", HWV_EXIT_MSR_WRITE, 0x838, 0x838, "setting the APIC timer (count)",
     "each timer that the guest sets is an exit",
     "fewer timers: the guest's nohz=on, a kernel of HZ=100 or 250; fewer short sleeps"},
    {"eoi", HWV_EXIT_MSR_WRITE, 0x80b, 0x80b, "ends of interrupts (EOI)",
     "without paravirtual EOI each interrupt ends by an exit",
     "PV EOI: a guest kernel with CONFIG_KVM_GUEST, not booted with nopv"},
    {"ipi", HWV_EXIT_MSR_WRITE, 0x830, 0x830, "interrupts between processors (ICR)",
     "each is an exit",
     "PV IPIs: a guest kernel with CONFIG_KVM_GUEST; fewer wake-ups across processors"},
    {"spec-ctrl", HWV_EXIT_MSR_WRITE, 0x48, 0x49, "speculation control by the guest",
     "it switches a mitigation at each change of process or privilege",
     "where the guest may do without: spec_store_bypass_disable=auto, spectre_v2=retpoline"},
    {"msr", HWV_EXIT_MSR_WRITE, 0, any_key, "writes of other MSRs",
     "hwv gives guests the MSRs that system calls and thread switches use (FS, GS, SYSENTER, PAT); "
     "all "
     "others exit",
     "find the writer: hwvctl report --symbols; a driver or feature that the guest can leave out"},
    {"msr", HWV_EXIT_MSR_READ, 0, any_key, "reads of MSRs",
     "hwv gives guests the MSRs that system calls and thread switches use (FS, GS, SYSENTER, PAT); "
     "all "
     "others exit",
     "find the reader: hwvctl report --symbols; tools that poll sensors (turbostat, thermal) have "
     "no use in a guest"},
    {"halt", HWV_EXIT_HLT, 0, any_key, "going to sleep (HLT)",
     "an idle guest halts; each wake-up costs a switch of threads on the host",
     "where the host has CPUs to spare: halt_poll_ns of hwv.ko (in /sys/module/hwv/parameters), or "
     "the "
     "guest's cpuidle_haltpoll.force=Y, which polls before it halts"},
    {"pause", HWV_EXIT_PAUSE, 0, any_key, "spinning (PAUSE)",
     "a processor waits for a lock whose holder does not run",
     "no more vCPUs than CPUs; pin them; PV spinlocks (CONFIG_PARAVIRT_SPINLOCKS)"},
    {"cpuid", HWV_EXIT_CPUID, 0, any_key, "CPUID",
     "it always exits; programs call it at their start, some as a barrier",
     "find the caller: hwvctl report --symbols; LFENCE, or SERIALIZE where the CPU has it, orders "
     "without an exit"},
    {"memory", HWV_EXIT_PAGE_FAULT, 0, any_key, "memory: first touches and device pages",
     "each page that the guest first touches is a fault, for 4 KiB or 2 MiB; so is each access to "
     "a "
     "device's memory, which leaves to user",
     "2 MiB pages: no --no-hugepages, /sys/kernel/mm/transparent_hugepage/enabled not never; "
     "devices: "
     "doorbells in ports or on HWV_IOEVENTFD"},
    {"host-interrupt", HWV_EXIT_HOST_INTERRUPT, 0, any_key, "interrupts of the host",
     "the host's tick and devices interrupt the CPU that the guest runs on",
     "keep them away: the host's nohz_full= and isolcpus= with the vCPU pinned there, IRQ "
     "affinity"},
    {"window", HWV_EXIT_INTERRUPT_WINDOW, 0, any_key, "waiting until the guest takes interrupts",
     "an interrupt came while the guest had them disabled",
     "fewer interrupts; nothing to set in hwv"},
    {"hypercall", HWV_EXIT_HYPERCALL, 0, any_key, "hypercalls", "the guest asks for them",
     "they replace dearer exits; marks (hwv-mark): fewer of them"},
    {"ruled", HWV_EXIT_RDTSC, 0, any_key, "RDTSC", "it exits because a rule asks for it",
     "hwvctl policy get VM shows the rules, policy reset removes them"},
    {"ruled", HWV_EXIT_RDTSCP, 0, any_key, "RDTSCP", "it exits because a rule asks for it",
     "hwvctl policy get VM shows the rules, policy reset removes them"},
    {"control-registers", HWV_EXIT_CR_WRITE, 0, any_key, "writes of control registers",
     "hwv has to know of paging and modes; CR3 exits only where a rule asks for it",
     "at boot: none; later: hwvctl policy get VM"},
    {"debug", HWV_EXIT_DR_ACCESS, 0, any_key, "debug registers", "breakpoints in the guest",
     "none"},
    {"exceptions", HWV_EXIT_EXCEPTION, 0, any_key, "exceptions",
     "only #DB, #AC and #MC exit by themselves, others because a rule asks for it",
     "hwvctl policy get VM"},
    {"cache", HWV_EXIT_WBINVD, 0, any_key, "WBINVD", "the guest writes back its caches",
     "a driver for devices that do not snoop; hwv does nothing at it"},
};

} // namespace records
