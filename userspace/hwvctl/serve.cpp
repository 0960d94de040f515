// SPDX-License-Identifier: GPL-2.0-only
// serve.cpp - the vCPU's thread: run, serve the exit, reply, run again.
#include <cstdio>
#include <exception>
#include "hwv/error.hpp"
#include "hwvctl/guest.hpp"

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

} // namespace

void Guest::vcpu_thread() {
    try {
        while (!stop_) {
            const hwv::RunResult result = vcpu_.run();
            vcpu_.clear_reply(); // taken over, by an interrupted run too: never twice
            if (result == hwv::RunResult::interrupted) {
                if (machine_->pic_pending()) vcpu_.reply().flags = HWV_REPLY_INTERRUPT_WINDOW;
                continue;
            }
            if (!serve()) break;
            prepare_interrupt();
        }
    } catch (const hwv::Error &e) {
        end({e.code() == ESHUTDOWN ? status::quit : status::host_error, e.what()});
    } catch (const std::exception &e) {
        end({status::host_error, e.what()});
    }
    end({status::quit, {}});
}

bool Guest::serve() {
    const hwv_exit &exit = vcpu_.exit();
    switch (exit.reason) {
    case HWV_EXIT_IO: return serve_io();
    case HWV_EXIT_MMIO: return serve_mmio();
    case HWV_EXIT_TASK_SWITCH: return serve_task_switch();
    case HWV_EXIT_EOI: machine_->eoi(static_cast<std::uint8_t>(exit.eoi_vector)); return true;
    case HWV_EXIT_KICKED:
    case HWV_EXIT_INTERRUPT_WINDOW: return true;
    case HWV_EXIT_SHUTDOWN:
        end({status::triple_fault,
             "triple fault at rip " + hex(exit.rip) + registers_of(vcpu_.regs())});
        return false;
    default: return serve_error();
    }
}

bool Guest::serve_error() {
    const hwv_exit &exit = vcpu_.exit();
    std::string message = std::string{"the guest cannot go on: exit '"} +
                          hwv::exit_name(exit.reason) + "' at rip " + hex(exit.rip) +
                          ", raw reason " + hex(exit.raw_reason);
    if (exit.reason == HWV_EXIT_INVALID_STATE)
        message += ", the CPU refused the guest's state: rule " + std::to_string(exit.invalid_rule);
    if (exit.reason == HWV_EXIT_ERROR && exit.error.code == HWV_ERROR_MEMORY)
        message += ", memory at " + hex(exit.error.detail) + " cannot be paged in (errno " +
                   std::to_string(-exit.error.code2) + ")";
    end({status::guest_error, message + registers_of(vcpu_.regs())});
    return false;
}

bool Guest::give_up(const char *problem) {
    const hwv_exit &exit = vcpu_.exit();
    std::string message = "the guest cannot go on: " + std::string{problem};
    if (exit.reason == HWV_EXIT_MMIO)
        message += ", at address " + hex(exit.mmio.gpa) +
                   ", which is no memory: " + bytes_of(exit.mmio.insn, exit.mmio.insn_len);
    else if (exit.reason == HWV_EXIT_IO)
        message += ", by string I/O on port " + hex(exit.io.port);
    else
        message += ", selector " + hex(exit.task.selector);
    end({status::guest_error, message + registers_of(vcpu_.regs())});
    return false;
}

bool Guest::serve_io() {
    const hwv_exit_io io = vcpu_.exit().io;
    if (io.string) {
        const char *problem = complete_string_io();
        return !problem || give_up(problem);
    }
    std::uint32_t data = io.data;
    machine_->handle_port(io.port, io.size, io.write, &data);
    if (!io.write) vcpu_.reply().data = data;
    return true;
}

bool Guest::serve_mmio() {
    const hwv_exit_mmio mmio = vcpu_.exit().mmio;
    if (!mmio.decoded) {
        const char *problem = emulate_mmio();
        return !problem || give_up(problem);
    }
    std::uint64_t data = mmio.data;
    machine_->handle_mmio(mmio.gpa, mmio.size, mmio.write, &data);
    if (!mmio.write) vcpu_.reply().data = data;
    return true;
}

bool Guest::serve_task_switch() {
    const char *problem = switch_task();
    return !problem || give_up(problem);
}

// Does INTR reach the core: through LVT0 in ExtINT mode, or past a disabled local APIC.
bool Guest::pic_reaches_vcpu() const {
    if (!(vcpu_.msr(apic_base_msr) & apic_enabled)) return true;
    const std::uint32_t lvt0 = vcpu_.apic_reg(lvt0_register);
    return !(lvt0 & lvt_masked) && (lvt0 & lvt_mode) == lvt_extint;
}

void Guest::prepare_interrupt() {
    if (!machine_->pic_pending() || !pic_reaches_vcpu()) return;
    const bool exception =
        vcpu_.reply().dirty & HWV_REGS_EVENT; // of an emulated instruction: it comes first
    if (exception || !(vcpu_.exit().flags & HWV_EXIT_FLAG_INTERRUPTIBLE)) {
        vcpu_.reply().flags |= HWV_REPLY_INTERRUPT_WINDOW;
        return;
    }
    vcpu_.reply().flags |= HWV_REPLY_EXTINT;
    vcpu_.reply().extint_vector = machine_->acknowledge_pic();
}

} // namespace hwvctl
