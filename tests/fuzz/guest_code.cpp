// SPDX-License-Identifier: GPL-2.0-only
// timeout: 240
// bed: --smp 2
// Guests that execute random bytes in real, protected and long mode, with register states that no
// loader would make. What must hold: HWV_RUN returns when it is kicked, and the host keeps its
// MSRs, its FPU and its temper.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <map>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include "fuzz/fuzz.hpp"
#include "fuzz/qemu.hpp"
#include "module/raw.hpp"
#include "module/report.hpp"
#include "module/watched.hpp"

namespace {

using fuzz::Random;

constexpr std::size_t memory_bytes = 1 << 20;
constexpr std::uint64_t tables_at =
    0xf0000; // page tables of long mode: PML4, PDPT with one 1 GiB page

enum class Mode { real, protect, wide };

struct Machine {
    int vm, vcpu;
    hwv_run *run;
    char *memory;
    bool wide; // it has long mode
};

Machine make(Random &r) {
    Machine m{};
    m.memory = static_cast<char *>(
        ::mmap(nullptr, memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    m.vm = raw::create_vm(r.below(16));
    hwv_memory slot{
        .slot = 1, .size = memory_bytes, .hva = reinterpret_cast<std::uint64_t>(m.memory)};
    raw::call(m.vm, HWV_SET_MEMORY, &slot);
    m.vcpu = raw::create_vcpu(m.vm);
    m.run = raw::map_run(m.vcpu);
    m.wide = !fuzz::on_qemu() || r.one_in(2);
    if (!m.wide)
        fuzz::take_long_mode(m.vcpu);
    else if (fuzz::on_qemu())
        fuzz::keep_long_mode(static_cast<int>(attach(id_of_last_vm())));
    return m;
}

// Instructions that exit.
const std::string exits[] = {"\xf4",
                             {"\x0f\xa2", 2},
                             {"\x0f\x32", 2},
                             {"\x0f\x30", 2},
                             "\xec",
                             "\xee",
                             {"\x0f\x01\xd9", 3},
                             {"\x0f\x01\xd8", 3},
                             {"\x0f\x01\xda", 3},
                             {"\x0f\x01\xdb", 3},
                             "\xfb",
                             {"\x0f\x20\xc0", 3},
                             {"\x0f\x22\xc0", 3},
                             {"\x0f\x22\xe0", 3},
                             {"\x0f\x21\xf8", 3},
                             {"\x0f\x23\xf8", 3},
                             {"\x0f\x01\xd1", 3},
                             "\xf3\x90",
                             {"\x0f\x08", 2},
                             {"\x0f\x09", 2},
                             {"\x0f\x31", 2},
                             {"\x0f\x01\xdd", 3},
                             {"\x0f\x01\xdc", 3},
                             {"\x0f\x01\xc8", 3},
                             {"\x0f\x01\xc9", 3},
                             {"\x0f\x01\xfd", 3},
                             "\x6c",
                             "\xf3\x6e",
                             {"\x0f\xc7\xf8", 3},
                             "\xcd\x03",
                             "\xcc",
                             "\xf1",
                             "\x9d",
                             "\xcf",
                             {"\x0f\xaa", 2}};

// Noise, sown with them.
void write_code(Random &r, char *memory) {
    for (std::size_t i = 0; i < 0x8000; i += 8) {
        const std::uint64_t word = r.next();
        std::memcpy(memory + i, &word, 8);
    }
    for (std::size_t at = 0x1000; at < 0x7000; at += 1 + r.below(24)) {
        const std::string &code = exits[r.below(std::size(exits))];
        std::memcpy(memory + at, code.data(), code.size());
    }
    fuzz::take_breakpoints(memory, 0x8000);
    const std::uint64_t tables[2] = {tables_at + 0x1003, 0x83 | 4};
    std::memcpy(memory + tables_at, &tables[0], 8);
    std::memcpy(memory + tables_at + 0x1000, &tables[1], 8);
}

void set_mode(hwv_regs &regs, Mode mode) {
    for (unsigned n = 0; n < 6; ++n)
        regs.segment[n] = {.limit = 0xffff'ffff, .selector = 8, .attributes = 0xc93};
    regs.segment[HWV_CS].attributes = mode == Mode::wide ? 0xa9b : 0xc9b;
    if (mode == Mode::real) {
        for (unsigned n = 0; n < 6; ++n)
            regs.segment[n] = {.limit = 0xffff, .attributes = 0x93};
        regs.segment[HWV_CS].attributes = 0x9b;
    }
    regs.segment[HWV_LDTR] = {.limit = 0xffff, .attributes = 0x82};
    regs.segment[HWV_TR] = {.limit = 0xffff, .attributes = 0x8b};
    regs.gdtr = {.limit = 0xffff};
    regs.idtr = {.limit = 0xffff};
    regs.cr0 = mode == Mode::real ? 0x10 : mode == Mode::protect ? 0x11 : 0x8000'0011;
    regs.cr4 = mode == Mode::wide ? 0x620 : 0;
    regs.efer = mode == Mode::wide ? 0x500 : 0;
    regs.cr3 = mode == Mode::wide ? tables_at : 0;
}

void random_state(Random &r, hwv_regs &regs, bool wide) {
    set_mode(regs, static_cast<Mode>(r.below(wide ? 3 : 2)));
    for (auto &gpr : regs.gpr)
        gpr = r.boundary();
    static constexpr std::uint32_t msrs[] = {
        0x10,       0x1b,       0x8b,       0x174,      0x1d9,      0x277,      0x808,     0x830,
        0xc0000080, 0xc0000081, 0xc0000101, 0xc0000103, 0xc0010114, 0xc0010117, 0x4b564d01};
    if (r.one_in(2)) regs.gpr[HWV_RCX] = msrs[r.below(std::size(msrs))];
    regs.rip = 0x1000 + r.below(0x6000);
    regs.rflags = 2 | (r.next() & 0x240dd5); // no RF, NT at times
    regs.event = {};
    if (r.one_in(4)) {
        regs.event.type = static_cast<std::uint8_t>(r.below(5));
        regs.event.vector = static_cast<std::uint8_t>(r.below(32));
        regs.event.length = 1;
        regs.event.shadow = static_cast<std::uint8_t>(r.below(4));
    }
    for (unsigned n = r.below(3); n; --n)
        reinterpret_cast<std::uint64_t *>(&regs)[1 + r.below(sizeof(regs) / 8 - 1)] = r.boundary();
    if (fuzz::on_qemu()) regs.dr7 &= ~0xffull;
    fuzz::fit_long_mode(regs);
}

constexpr std::uint32_t host_msrs[] = {0x174,      0x175,      0x176,      0x1d9,      0x277,
                                       0x2ff,      0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,
                                       0xc0010114, 0xc0010015, 0xda0};

std::map<std::uint32_t, std::uint64_t> read_host_msrs() {
    std::map<std::uint32_t, std::uint64_t> values;
    const int fd = ::open("/dev/cpu/0/msr", O_RDONLY | O_CLOEXEC);
    for (std::uint32_t index : host_msrs) {
        std::uint64_t value;
        if (::pread(fd, &value, 8, index) == 8) values[index] = value;
    }
    ::close(fd);
    return values;
}

// HWV_RUN with known values in the FPU; true if they are there afterwards.
bool run_keeps_fpu(int vcpu, std::uint64_t pattern) {
    alignas(16) std::uint64_t in[2] = {pattern, ~pattern}, out[2] = {}, high[2] = {};
    const std::uint32_t mxcsr_in = 0x5f80;
    std::uint32_t mxcsr_out = 0, mxcsr_usual = 0x1f80;
    std::uint16_t control_out = 0;
    const std::uint16_t control_in = 0x27f, control_usual = 0x37f;
    long result = SYS_ioctl;
    asm volatile("ldmxcsr %[mi]\n fldcw %[ci]\n movdqa %[in], %%xmm0\n movdqa %[in], %%xmm15\n"
                 "syscall\n"
                 "movdqa %%xmm0, %[out]\n movdqa %%xmm15, %[high]\n stmxcsr %[mo]\n fnstcw %[co]\n"
                 "ldmxcsr %[mu]\n fldcw %[cu]"
                 : "+a"(result), [out] "=m"(out), [high] "=m"(high), [mo] "=m"(mxcsr_out),
                   [co] "=m"(control_out)
                 : "D"(static_cast<long>(vcpu)), "S"(HWV_RUN),
                   "d"(0L), [in] "m"(in), [mi] "m"(mxcsr_in), [ci] "m"(control_in),
                   [mu] "m"(mxcsr_usual), [cu] "m"(control_usual)
                 : "rcx", "r11", "memory", "xmm0", "xmm15");
    return !std::memcmp(in, out, 16) && !std::memcmp(in, high, 16) && mxcsr_in == mxcsr_out &&
           control_in == control_out;
}

struct Tally {
    std::uint64_t runs, refused, fpu_lost, reasons[256];
};
Tally *tally; // shared with the children

void round_of(Random &r) {
    fuzz::leave_a_cpu();
    Machine m = make(r);
    const fuzz::Ticker ticker{m.vcpu, 1500};
    for (;;) {
        write_code(r, m.memory);
        random_state(r, m.run->regs, m.wide);
        m.run->reply = {.dirty = HWV_REGS_ALL, .wanted = static_cast<std::uint32_t>(r.below(32))};
        if (raw::call(m.vcpu, HWV_SYNC_REGS) < 0) ++tally->refused;
        for (int n = 0; n < 12; ++n) {
            m.run->reply = {.data = r.boundary()};
            if (r.one_in(4)) {
                hwv_interrupt request{static_cast<std::uint32_t>(r.below(3)),
                                      static_cast<std::uint32_t>(r.below(256))};
                raw::call(m.vcpu, HWV_INTERRUPT, &request);
            }
            ++tally->runs;
            if (!run_keeps_fpu(m.vcpu, r.next())) ++tally->fpu_lost;
            ++tally->reasons[m.run->exit.reason & 0xff];
            if (m.run->exit.reason == HWV_EXIT_SHUTDOWN || m.run->exit.reason == HWV_EXIT_ERROR)
                break;
        }
    }
}

} // namespace

int main() {
    if (!raw::can_run()) {
        skip("fuzz.guest_code", "this machine cannot run guests");
        return 0;
    }
    fuzz::arm();
    [[maybe_unused]] const int loaded = std::system("modprobe msr 2>/dev/null");
    tally = static_cast<Tally *>(
        ::mmap(nullptr, sizeof(Tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
    fuzz::guest_still_runs(); // the first VM switches the CPU to SVM or VMX
    const auto before = read_host_msrs();
    report("fuzz.guest_code.killable", fuzz::rounds(fuzz::seconds(8), 2, round_of),
           "a process cannot be killed");
    const auto after = read_host_msrs();
    std::printf("# %lu runs, %lu states refused; exits:", tally->runs, tally->refused);
    for (unsigned n = 0; n < 256; ++n)
        if (tally->reasons[n]) std::printf(" %#x: %lu", n, tally->reasons[n]);
    std::printf("\n");
    report("fuzz.guest_code.ran",
           tally->runs > 50 && tally->reasons[HWV_EXIT_IO] + tally->reasons[HWV_EXIT_MMIO] > 0,
           "hardly a guest has run");
    expect("fuzz.guest_code.host_fpu_lost", static_cast<long>(tally->fpu_lost), 0);
    if (before.empty())
        skip("fuzz.guest_code.host_msrs", "no /dev/cpu/0/msr");
    else
        report("fuzz.guest_code.host_msrs", before == after, "an MSR of the host has changed");
    report("fuzz.guest_code.guest_still_runs", fuzz::guest_still_runs(), "a new VM does not work");
    const std::string line = fuzz::complaint();
    report("fuzz.guest_code.log_clean", line.empty(), line);
    return verdict();
}
