// SPDX-License-Identifier: GPL-2.0-only
// processor.cpp - the vCPU's thread: run, serve the exit, reply, run again.
#include "hwvctl/processor.hpp"
#include <cstdio>
#include <exception>
#include "hwv/error.hpp"

namespace hwvctl {
namespace {

constexpr std::uint32_t lvt0_register = 0x350, apic_base_msr = 0x1b;
constexpr std::uint64_t apic_enabled = 1u << 11;
constexpr std::uint32_t lvt_masked = 1u << 16, lvt_mode = 7u << 8, lvt_extint = 7u << 8;

std::string hex(std::uint64_t value) {
    char text[32];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

std::string bytes_of(const std::uint8_t *bytes, unsigned count) {
    std::string out;
    char text[4];
    for (unsigned i = 0; i < count; ++i) {
        std::snprintf(text, sizeof text, "%02x ", bytes[i]);
        out += text;
    }
    return out;
}

std::string registers_of(const hwv_regs &r) {
    static constexpr const char *names[] = {"rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
                                            "r8",  "r9",  "r10", "r11", "r12", "r13", "r14", "r15"};
    std::string out;
    for (unsigned i = 0; i < HWV_GPRS; ++i)
        out += std::string{"\n  "} + names[i] + " " + hex(r.gpr[i]);
    out += "\n  rip " + hex(r.rip) + " rflags " + hex(r.rflags) + " cs " +
           hex(r.segment[HWV_CS].selector) + ":" + hex(r.segment[HWV_CS].base);
    return out + "\n  cr0 " + hex(r.cr0) + " cr2 " + hex(r.cr2) + " cr3 " + hex(r.cr3) + " cr4 " +
           hex(r.cr4) + " efer " + hex(r.efer);
}

void to_run_page(hwv_segment &to, const boot::Segment &from) {
    to = {from.base, from.limit, from.selector, from.attributes()};
}

} // namespace

void Course::end(Ending ending) {
    const std::lock_guard lock{lock_};
    if (over_) return;
    ending_ = std::move(ending);
    over_.store(true, std::memory_order_release);
    ended_.notify_all();
}

Ending Course::wait() {
    std::unique_lock lock{lock_};
    ended_.wait(lock, [this] { return over(); });
    return ending_;
}

Processor::Processor(Board &board, unsigned id, std::span<const hwv_cpuid_entry> cpuid)
    : board_{board}, machine_{board.machine}, id_{id}, vcpu_{board.vm.create_vcpu(id)} {
    vcpu_.set_cpuid(cpuid);
    set_up();
}

// What firmware leaves behind and kernels take for granted: memory is write-back but for the VGA
// window (without MTRRs Linux does without PAT too), and the PIC and NMI reach the boot processor
// through its local APIC ("virtual wire", Intel MultiProcessor Specification, "Virtual Wire Mode").
// A BIOS does all that itself, but takes the PIC's interrupts before it has looked at the APIC.
void Processor::set_up() {
    if (board_.has_firmware) {
        if (id_ == 0) vcpu_.set_apic_reg(lvt0_register, lvt_extint);
        return;
    }
    constexpr std::uint64_t write_back = 0x0606'0606'0606'0606;
    for (const std::uint32_t fixed :
         {0x250, 0x258, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f})
        vcpu_.set_msr(fixed, write_back);
    vcpu_.set_msr(0x2ff, 0xc06); // MTRRdefType: on, fixed ones too, write-back
    if (id_ != 0) return;
    vcpu_.set_apic_reg(0xf0, 0x1ff); // SVR: on
    vcpu_.set_apic_reg(lvt0_register, lvt_extint);
    vcpu_.set_apic_reg(0x360, 0x400); // LVT1: NMI
}

void Processor::enter_at(const boot::Entry &entry) {
    vcpu_.sync(0, HWV_REGS_ALL);
    hwv_regs &r = vcpu_.regs();
    for (unsigned i = 0; i < HWV_GPRS; ++i)
        r.gpr[i] = entry.gpr[i];
    r.rip = entry.rip;
    r.rflags = entry.rflags;
    const boot::Segment *segments[HWV_SEGMENTS] = {&entry.es, &entry.cs, &entry.ss,  &entry.ds,
                                                   &entry.fs, &entry.gs, &entry.ldt, &entry.tr};
    for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
        to_run_page(r.segment[i], *segments[i]);
    r.gdtr = {entry.gdt.base, entry.gdt.limit, 0};
    r.idtr = {entry.idt.base, entry.idt.limit, 0};
    r.cr0 = entry.cr0;
    r.cr3 = entry.cr3;
    r.cr4 = entry.cr4;
    r.efer = entry.efer;
    vcpu_.sync(HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL, 0);
}

void Processor::start(Processor *next) {
    next_ = next;
    thread_ = std::thread{[this] { thread(); }};
    ::pthread_setname_np(thread_.native_handle(), ("vcpu" + std::to_string(id_)).c_str());
}

// The end is noted before the kick: either the thread sees it before HWV_RUN, or the kick, which is
// not lost, ends that.
void Processor::join() {
    if (!thread_.joinable()) return;
    vcpu_.kick();
    thread_.join();
}

std::optional<std::vector<std::uint64_t>> Processor::msrs(std::vector<std::uint32_t> which,
                                                          std::chrono::milliseconds patience) {
    std::unique_lock lock{question_lock_};
    question_ = std::move(which);
    answer_.reset();
    asked_ = true;
    vcpu_.kick();
    answered_.wait_for(lock, patience, [this] { return answer_.has_value(); });
    asked_ = false;
    return std::move(answer_);
}

void Processor::answer_question() {
    const std::lock_guard lock{question_lock_};
    if (!asked_.exchange(false)) return;
    answer_.emplace();
    for (const std::uint32_t index : question_) {
        try {
            answer_->push_back(vcpu_.msr(index));
        } catch (const hwv::Error &) {
            answer_->push_back(0);
        }
    }
    answered_.notify_all();
}

bool Processor::end(int status, const std::string &message) {
    const std::string who = board_.processors > 1 ? "vCPU " + std::to_string(id_) + ": " : "";
    board_.course.end({status, who + message});
    return false;
}

void Processor::thread() {
    try {
        while (!board_.course.over()) {
            if (asked_) answer_question();
            const hwv::RunResult result = vcpu_.run();
            vcpu_.clear_reply(); // taken over, by an interrupted run too: never twice
            if (result == hwv::RunResult::interrupted) {
                if (machine_.pic_pending() && pic_reaches_vcpu())
                    vcpu_.reply().flags = HWV_REPLY_INTERRUPT_WINDOW;
                continue;
            }
            if (!serve()) return;
            prepare_interrupt();
        }
    } catch (const hwv::Error &e) {
        if (e.code() == ESHUTDOWN)
            board_.course.end({status::quit, e.what()});
        else
            end(status::host_error, e.what());
    } catch (const std::exception &e) {
        end(status::host_error, e.what());
    }
}

bool Processor::serve() {
    const hwv_exit &exit = vcpu_.exit();
    switch (exit.reason) {
    case HWV_EXIT_IO: return serve_io();
    case HWV_EXIT_MMIO: return serve_mmio();
    case HWV_EXIT_TASK_SWITCH: return serve_task_switch();
    case HWV_EXIT_EOI: machine_.eoi(static_cast<std::uint8_t>(exit.eoi_vector)); return true;
    case HWV_EXIT_KICKED:
    case HWV_EXIT_INTERRUPT_WINDOW: return true;
    case HWV_EXIT_SHUTDOWN:
        return end(status::triple_fault,
                   "triple fault at rip " + hex(exit.rip) + registers_of(vcpu_.regs()));
    default: return serve_error();
    }
}

bool Processor::serve_error() {
    const hwv_exit &exit = vcpu_.exit();
    std::string message = std::string{"the guest cannot go on: exit '"} +
                          hwv::exit_name(exit.reason) + "' at rip " + hex(exit.rip) +
                          ", raw reason " + hex(exit.raw_reason);
    if (exit.reason == HWV_EXIT_INVALID_STATE)
        message += ", the CPU refused the guest's state: rule " + std::to_string(exit.invalid_rule);
    if (exit.reason == HWV_EXIT_ERROR && exit.error.code == HWV_ERROR_MEMORY)
        message += ", memory at " + hex(exit.error.detail) + " cannot be paged in (errno " +
                   std::to_string(-exit.error.code2) + ")";
    return end(status::guest_error, message + registers_of(vcpu_.regs()));
}

bool Processor::give_up(const char *problem) {
    const hwv_exit &exit = vcpu_.exit();
    std::string message = "the guest cannot go on: " + std::string{problem};
    if (exit.reason == HWV_EXIT_MMIO)
        message += ", at address " + hex(exit.mmio.gpa) +
                   ", which is no memory: " + bytes_of(exit.mmio.insn, exit.mmio.insn_len);
    else if (exit.reason == HWV_EXIT_IO)
        message += ", by string I/O on port " + hex(exit.io.port);
    else
        message += ", selector " + hex(exit.task.selector);
    return end(status::guest_error, message + registers_of(vcpu_.regs()));
}

bool Processor::serve_io() {
    const hwv_exit_io io = vcpu_.exit().io;
    if (io.string) {
        const char *problem = complete_string_io();
        return !problem || give_up(problem);
    }
    std::uint32_t data = io.data;
    machine_.handle_port(io.port, io.size, io.write, &data);
    if (!io.write) vcpu_.reply().data = data;
    return true;
}

bool Processor::serve_mmio() {
    const hwv_exit_mmio mmio = vcpu_.exit().mmio;
    if (!mmio.decoded) {
        const char *problem = emulate_mmio();
        return !problem || give_up(problem);
    }
    std::uint64_t data = mmio.data;
    machine_.handle_mmio(mmio.gpa, mmio.size, mmio.write, &data);
    if (!mmio.write) vcpu_.reply().data = data;
    return true;
}

bool Processor::serve_task_switch() {
    const char *problem = switch_task();
    return !problem || give_up(problem);
}

// Does INTR reach the core: through LVT0 in ExtINT mode, or past a disabled local APIC.
bool Processor::pic_reaches_vcpu() const {
    if (!(vcpu_.msr(apic_base_msr) & apic_enabled)) return true;
    const std::uint32_t lvt0 = vcpu_.apic_reg(lvt0_register);
    return !(lvt0 & lvt_masked) && (lvt0 & lvt_mode) == lvt_extint;
}

// INTR is one wire: where it does not reach this processor, it may reach the next one. Whether it
// does is asked once for each rise, which comes as a kick.
void Processor::prepare_interrupt() {
    if (!machine_.pic_pending()) return;
    if (!pic_reaches_vcpu()) {
        if (next_ && vcpu_.exit().reason == HWV_EXIT_KICKED) next_->kick();
        return;
    }
    const bool exception =
        vcpu_.reply().dirty & HWV_REGS_EVENT; // of an emulated instruction: it comes first
    if (exception || !(vcpu_.exit().flags & HWV_EXIT_FLAG_INTERRUPTIBLE)) {
        vcpu_.reply().flags |= HWV_REPLY_INTERRUPT_WINDOW;
        return;
    }
    vcpu_.reply().flags |= HWV_REPLY_EXTINT;
    vcpu_.reply().extint_vector = machine_.acknowledge_pic();
}

} // namespace hwvctl
