// SPDX-License-Identifier: GPL-2.0-only
// The standard PC, put together. All entry points take the machine's lock and may be called from
// any thread; the sinks are called with it held and must not call back.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "machine/acpi_pm.hpp"
#include "machine/bus.hpp"
#include "machine/clock.hpp"
#include "machine/description.hpp"
#include "machine/display/vga_function.hpp"
#include "machine/event_fds.hpp"
#include "machine/event_loop.hpp"
#include "machine/guest_memory.hpp"
#include "machine/hpet.hpp"
#include "machine/i8042.hpp"
#include "machine/interrupts.hpp"
#include "machine/ioapic.hpp"
#include "machine/legacy_ports.hpp"
#include "machine/low_memory.hpp"
#include "machine/memory_slots.hpp"
#include "machine/pci/host.hpp"
#include "machine/pic.hpp"
#include "machine/pit.hpp"
#include "machine/power.hpp"
#include "machine/rtc.hpp"
#include "machine/serial_backend.hpp"
#include "machine/uart.hpp"

namespace machine {

struct MachineConfig {
    // Off: a UART, RTC, IOAPIC and hardware-reduced ACPI, and nothing that a new system would not
    // look for.
    bool legacy = true;
    bool hpet = false;              // only beside the timers that it replaces
    bool keyboard = false;          // and a mouse
    bool vga = false;               // brings PCI; RAM has to leave VgaMemory's window free
    std::vector<std::byte> vga_rom; // its BIOS, for firmware to run
    bool pci = false;               // a host bridge, and what is added to it
    bool a20_gate = false;          // for one processor, where MachineSinks has RAM's slots
    std::uint64_t memory_below_4g = 0;
    std::uint64_t memory_above_4g = 0;
    GuestMemory ram{{}}; // what devices read and write by themselves
    // COM1 to COM4; COM1 exists even without a backend.
    std::array<SerialFactory, 4> serial;
    DebugSink debug_output;
    std::function<void(const std::string &)> notice;
    const Clock *clock = nullptr; // the system's if null; outlives the machine
};

struct MachineSinks {
    MsiSink &messages;
    EoiSink &eoi;
    ExtIntSink &intr;
    PowerSink power;
    MemorySlots *memory = nullptr; // null: devices that need it are refused
    EventFds *events = nullptr;    // null: the event loop does it
    RamSlots *ram = nullptr;       // LowMemory's pieces; null: RAM is always what it is
};

class Machine {
  public:
    // Throws std::system_error if a serial backend cannot be opened, std::logic_error if two
    // devices want the same port.
    Machine(MachineConfig config, MachineSinks sinks);
    ~Machine();
    Machine(const Machine &) = delete;
    Machine &operator=(const Machine &) = delete;

    // The event loop's thread. Without it timers stand still and no input arrives. Once it has
    // stopped, all of the guest's output has been written.
    void start();
    void stop();

    // A port exit: `count` elements of `size` bytes (1, 2, 4) in a row at `data`, all for the same
    // port.
    void handle_port(std::uint16_t port, unsigned size, bool is_write, void *data,
                     std::uint32_t count = 1) noexcept;
    // An MMIO exit: `size` bytes (1, 2, 4, 8) at `data`.
    void handle_mmio(std::uint64_t gpa, unsigned size, bool is_write, void *data) noexcept;

    // A processor ended a level-triggered interrupt.
    void eoi(std::uint8_t vector) noexcept;
    bool pic_pending() noexcept;
    // The vector for the interrupt that ExtIntSink announced; call exactly when it is injected.
    std::uint8_t acknowledge_pic() noexcept;
    void press_power_button() noexcept;
    // Where in RAM a processor's access to `gpa` lands; nothing for a write to what is read-only.
    std::optional<std::uint64_t> ram_address(std::uint64_t gpa, bool write) noexcept;

    const MachineDescription &description() const { return description_; }
    UnclaimedCount unclaimed_ports();
    UnclaimedCount unclaimed_mmio();

    // For devices that other rooms add before start(): hold lock() around every use.
    std::mutex &lock() { return lock_; }
    PortBus &ports() { return ports_; }
    MmioBus &mmio() { return mmio_; }
    EventLoop &loop() { return loop_; }
    GuestMemory &ram() { return ram_; }
    Rtc &rtc() { return rtc_; }
    // Null where nobody maps devices' memory.
    MemorySlots *memory_slots() { return memory_slots_; }
    // Null where there is none.
    I8042 *input() { return i8042_.get(); }
    Vga *vga() { return vga_.get(); }
    VgaFunction *vga_function() { return vga_function_; }
    // Null on a machine without PCI.
    pci::Host *pci_host() { return pci_.get(); }
    // A wire to IRQ or, from 16 to 23, to IOAPIC pin `irq`.
    IrqLine irq_line(unsigned irq) { return {router_, irq}; }
    // Runs due timers by hand, for tests with a clock of their own.
    void run_due_timers();

  private:
    // ISA IRQ n goes to pin n of both controllers, except that IRQ 0 is pin 2 of the IOAPIC.
    class Router final : public IrqSink {
      public:
        Router(Pic *pic, IoApic &ioapic) : pic_(pic), ioapic_(ioapic) {}
        void set_irq(unsigned irq, bool level) noexcept override;

      private:
        Pic *pic_;
        IoApic &ioapic_;
        // How many devices hold each line: those of shared ones work as a wired OR.
        std::array<std::uint32_t, IoApic::pins> holders_{};
    };
    void add_serial(MachineConfig &config, const MachineSinks &sinks);
    void attach_all();
    void add_pci(const MachineConfig &config, const MachineSinks &sinks);
    void describe(const MachineConfig &config);

    std::mutex lock_;
    SystemClock system_clock_;
    GuestMemory ram_;
    LowMemory low_memory_;
    MemorySlots *memory_slots_;
    TimerQueue timers_;
    EventLoop loop_;
    PortBus ports_;
    MmioBus mmio_;
    std::unique_ptr<Pic> pic_;
    IoApic ioapic_;
    Router router_;
    LegacyRoute legacy_route_{router_};
    AcpiPm pm_;
    Rtc rtc_;
    ResetControl reset_;
    DebugExit debug_exit_;
    PanicReport panic_;
    DebugConsole debug_console_;
    PostCode post_;
    std::unique_ptr<Pit> pit_;
    std::unique_ptr<Hpet> hpet_;
    std::unique_ptr<I8042> i8042_;
    std::unique_ptr<Vga> vga_;
    VgaFunction *vga_function_ = nullptr; // the PCI host's
    // Backends before UARTs: a UART tells its backend when it goes.
    std::array<std::unique_ptr<SerialBackend>, 4> backends_;
    std::array<std::unique_ptr<Uart>, 4> uarts_;
    MachineDescription description_;
    std::unique_ptr<pci::Host> pci_; // its devices use all of the above
};

} // namespace machine
