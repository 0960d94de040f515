// SPDX-License-Identifier: GPL-2.0-only
#include "module/puppet.hpp"
#include <cerrno>
#include <sys/mman.h>
#include <unistd.h>

namespace {

//          mov  dx, 0x10
// next:    in   ax, dx          ; segment of the page
//          mov  ds, ax
//          in   ax, dx          ; what to write, 0: read
//          test ax, ax
//          jz   read
//          mov  [0], ax
//          jmp  done
// read:    mov  ax, [0]
// done:    out  dx, ax
//          jmp  next
const std::string program{"\xba\x10\x00"
                          "\xed\x8e\xd8\xed"
                          "\x85\xc0\x74\x05"
                          "\xa3\x00\x00\xeb\x03"
                          "\xa1\x00\x00"
                          "\xef\xeb\xed",
                          22};

} // namespace

Puppet::Puppet()
    : vm_{raw::create_vm()},
      vcpu_{raw::create_vcpu(vm_)},
      program_{raw::map_program(vm_, program)},
      run_{raw::map_run(vcpu_)} {}

Puppet::~Puppet() {
    ::munmap(run_, HWV_RUN_PAGE_SIZE);
    ::munmap(program_, 4096);
    ::close(vcpu_);
    ::close(vm_);
}

void Puppet::set_memory(void *hva, std::size_t bytes, std::uint32_t flags) {
    hwv_memory slot{.slot = 1};
    if (bytes_) raw::call(vm_, HWV_SET_MEMORY, &slot);
    slot = {.slot = 1,
            .flags = flags,
            .gpa = 0,
            .size = bytes,
            .hva = reinterpret_cast<std::uint64_t>(hva)};
    bytes_ = raw::call(vm_, HWV_SET_MEMORY, &slot) == 0 ? bytes : 0;
}

long Puppet::change(const hwv_memory &slot) { return raw::call(vm_, HWV_SET_MEMORY, &slot); }

// Serves the guest until it reports.
long Puppet::serve(const std::uint16_t *answers, unsigned count) {
    stuck_ = true;
    for (unsigned asked = 0;;) {
        long result = raw::call(vcpu_, HWV_RUN);
        if (result < 0) return result;
        const hwv_exit &e = run_->exit;
        if (e.reason == HWV_EXIT_ERROR)
            return e.error.code == HWV_ERROR_MEMORY ? e.error.code2 : -EPROTO;
        if (e.reason == HWV_EXIT_MMIO) return -ENXIO;
        if (e.reason != HWV_EXIT_IO || (!e.io.write && asked >= count)) return -EPROTO;
        if (e.io.write) break;
        run_->reply = {.data = answers[asked++]};
    }
    stuck_ = false;
    return run_->exit.io.data & 0xffff;
}

long Puppet::command(unsigned page, std::uint16_t value) {
    const std::uint16_t answers[] = {static_cast<std::uint16_t>(page << 8), value};
    return stuck_ ? -EBUSY : serve(answers, 2);
}

long Puppet::execute(unsigned page) {
    if (stuck_) return -EBUSY;
    constexpr std::uint32_t groups = HWV_REGS_GPR | HWV_REGS_SEGMENT;
    run_->reply = {.wanted = groups};
    if (long result = raw::call(vcpu_, HWV_SYNC_REGS); result < 0) return result;
    const hwv_regs stays = run_->regs;
    hwv_segment &cs = run_->regs.segment[HWV_CS];
    cs.selector = static_cast<std::uint16_t>(page << 8);
    cs.base = page * 4096;
    run_->regs.rip = 2;
    run_->regs.gpr[HWV_RDX] = 0x10;
    run_->reply = {.dirty = groups};
    const long value = serve(nullptr, 0);
    run_->regs = stays;
    run_->reply = {.dirty = groups};
    const long back = raw::call(vcpu_, HWV_SYNC_REGS);
    run_->reply = {};
    return back < 0 ? back : value;
}

long Puppet::again() { return serve(nullptr, 0); }

long Puppet::peek(unsigned page) { return command(page, 0); }

long Puppet::poke(unsigned page, std::uint16_t value) { return command(page, value); }

std::uint64_t Puppet::page_faults() const {
    hwv_vcpu_stats stats{};
    raw::read_stats(vcpu_, &stats);
    return stats.exit[HWV_EXIT_PAGE_FAULT].count + (stats.open_reason == HWV_EXIT_PAGE_FAULT);
}
