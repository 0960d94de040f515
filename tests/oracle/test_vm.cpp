// SPDX-License-Identifier: GPL-2.0-only
#include "oracle/test_vm.hpp"
#include <cpuid.h>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sys/mman.h>
#include <unistd.h>

namespace oracle {
namespace {

constexpr std::size_t huge_page = 2u << 20;
constexpr std::uint64_t gdt = 0x1000, top_table = 0x2000, pointer_table = 0x3000,
                        directories = 0x4000;
constexpr std::uint64_t pe = 1, ne = 1 << 5, et = 1 << 4, mp = 2, wp = 1 << 16, pg = 1u << 31;
constexpr std::uint64_t pae = 1 << 5, pse = 1 << 4, osfxsr = 1 << 9, osxmmexcpt = 1 << 10;
constexpr std::uint64_t lme = 1 << 8, lma = 1 << 10, nxe = 1 << 11, sce = 1;

void put64(std::span<std::uint8_t> memory, std::uint64_t at, std::uint64_t value) {
    std::memcpy(memory.data() + at, &value, 8);
}

void flat(hwv_regs &r, std::uint16_t code, std::uint16_t data) {
    for (unsigned i = HWV_ES; i <= HWV_GS; ++i)
        r.segment[i] = {0, 0xffffffff, 0x18, data};
    r.segment[HWV_CS] = {0, 0xffffffff, 0x10, code};
    r.segment[HWV_TR] = {0, 0xffff, 0x20, tss_busy};
    r.segment[HWV_LDTR] = {0, 0xffff, 0, unusable | ldt};
    r.gdtr = {gdt, 0x7f, 0};
    r.idtr = {0, 0xffff, 0};
}

hwv_regs common(std::uint64_t rip) {
    hwv_regs r{};
    r.rip = rip;
    r.rflags = 2;
    r.gpr[HWV_RSP] = 0x80000;
    r.xcr0 = 1;
    r.dr6 = 0xffff0ff0;
    r.dr7 = 0x400;
    return r;
}

void write_gdt(std::span<std::uint8_t> memory, std::uint64_t code) {
    put64(memory, gdt, 0);
    put64(memory, gdt + 8, 0);
    put64(memory, gdt + 0x10, code);
    put64(memory, gdt + 0x18, 0x00cf93000000ffff);
    put64(memory, gdt + 0x20, 0x00008b000000ffff);
    put64(memory, gdt + 0x28, 0);
}

// Four directories of 2 MiB pages: the first 4 GiB.
void write_directories(std::span<std::uint8_t> memory) {
    for (std::uint64_t i = 0; i < 4 * 512; ++i)
        put64(memory, directories + 8 * i, i << 21 | 0xe7);
}

} // namespace

const char *name(Kind kind) { return kind == Kind::hwv ? "hwv" : "kvm"; }

bool on_intel() {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid(0, &eax, &ebx, &ecx, &edx) && ebx == signature_INTEL_ebx;
}

std::string firmware_says(const char *what) {
    std::ifstream file{std::string{"/sys/class/dmi/id/"} + what};
    std::string text;
    std::getline(file, text);
    return text;
}

bool on_bochs() { return firmware_says("bios_vendor") == "The Bochs Project"; }

bool available(Kind kind) {
    return ::access(kind == Kind::hwv ? "/dev/hwv" : "/dev/kvm", R_OK | W_OK) == 0;
}

std::unique_ptr<TestVm> make_vm(Kind kind, const Options &options) {
    return kind == Kind::hwv ? make_hwv(options) : make_kvm(options);
}

TestVm::~TestVm() {
    if (!mapping_.empty()) ::munmap(mapping_.data(), mapping_.size());
}

void TestVm::allocate(const Options &options) {
    const std::size_t bytes = options.memory + huge_page;
    void *at = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (at == MAP_FAILED) throw Failure{errno, "mmap of guest memory"};
    mapping_ = {static_cast<std::uint8_t *>(at), bytes};
    auto base = (reinterpret_cast<std::uintptr_t>(at) + huge_page - 1) & ~(huge_page - 1);
    memory_ = {reinterpret_cast<std::uint8_t *>(base), options.memory};
    ::madvise(memory_.data(), options.memory, options.huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    if (options.populate) std::memset(memory_.data(), 0, options.memory);
}

hwv_regs real_mode(std::uint16_t cs, std::uint16_t ip) {
    hwv_regs r = common(ip);
    for (unsigned i = HWV_ES; i <= HWV_GS; ++i)
        r.segment[i] = {0, 0xffff, 0, data16};
    r.segment[HWV_CS] = {static_cast<std::uint64_t>(cs) << 4, 0xffff, cs, code16};
    r.segment[HWV_TR] = {0, 0xffff, 0, tss_busy};
    r.segment[HWV_LDTR] = {0, 0xffff, 0, ldt};
    r.gdtr = {0, 0xffff, 0};
    r.idtr = {0, 0x3ff, 0};
    r.gpr[HWV_RSP] = 0x7000;
    r.cr0 = et;
    return r;
}

hwv_regs protected_mode(std::span<std::uint8_t> memory, std::uint32_t eip) {
    write_gdt(memory, 0x00cf9b000000ffff);
    hwv_regs r = common(eip);
    flat(r, code32, data32);
    r.cr0 = pe | et | ne | mp;
    r.cr4 = osfxsr | osxmmexcpt;
    return r;
}

hwv_regs pae_mode(std::span<std::uint8_t> memory, std::uint32_t eip) {
    hwv_regs r = protected_mode(memory, eip);
    write_directories(memory);
    for (std::uint64_t i = 0; i < 4; ++i)
        put64(memory, pointer_table + 8 * i, (directories + 0x1000 * i) | 1);
    r.cr3 = pointer_table;
    r.cr4 |= pae | pse;
    r.cr0 |= pg | wp;
    return r;
}

hwv_regs long_mode(std::span<std::uint8_t> memory, std::uint64_t rip) {
    write_gdt(memory, 0x00af9b000000ffff);
    write_directories(memory);
    put64(memory, top_table, pointer_table | 0x27);
    for (std::uint64_t i = 0; i < 4; ++i)
        put64(memory, pointer_table + 8 * i, (directories + 0x1000 * i) | 0x27);
    hwv_regs r = common(rip);
    flat(r, code64, data32);
    r.cr0 = pe | et | ne | mp | wp | pg;
    r.cr3 = top_table;
    r.cr4 = pae | osfxsr | osxmmexcpt;
    r.efer = lme | lma | nxe | sce;
    return r;
}

} // namespace oracle
