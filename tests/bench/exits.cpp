// SPDX-License-Identifier: GPL-2.0-only
// exits.cpp - what one exit costs, guest to guest, under hwv and under KVM. The guest reads its TSC
// around a loop; in the counting bed a TSC tick is an instruction. Prints one line a row: "ROW
// hwv|kvm COST", the cost of the empty loop taken off: the median of some batches, since a timer's
// tick and what it wakes belongs to no exit.
// exits [hwv|kvm [ROW [ITERATIONS [ring|filter|program|FILE.bpf.o]]]] runs a part, with so many in
// a batch, and with an observer of hwv's VM: that records each exit, or that has a rule which no
// exit meets, or an eBPF program for CPUIDs, that only says that it ran or is FILE's.
// scripts/bench --profile knows where the guest begins and ends to measure.
#include <algorithm>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <linux/bpf.h>
#include <optional>
#include <vector>
#include "hwv/error.hpp"
#include "hwv/observer.hpp"
#include "hwv/programs.hpp"
#include "oracle/test_vm.hpp"

namespace {

using oracle::Kind;
using oracle::TestVm;

constexpr std::uint64_t code = 0x100000, finish = 0x100080, warm_up = 200, hole = 0xd0000000;
constexpr std::uint64_t batches = 5;
std::uint64_t iterations = 512; // pages: as many as a page table has

struct Row {
    const char *name;
    std::span<const std::uint8_t> body; // the loop's body; RDI counts down and is not touched
    oracle::Options options;
    std::uint64_t setup_rbx = 0;
    std::uint64_t halts = 0; // HLTs of the body
};

template <std::size_t N>
constexpr std::span<const std::uint8_t> bytes(const std::uint8_t (&b)[N]) {
    return {b, N};
}

constexpr std::uint8_t nothing[] = {0x90};
constexpr std::uint8_t cpuid[] = {0x31, 0xc0, 0x0f, 0xa2}; // xor eax,eax; cpuid
constexpr std::uint8_t vmmcall[] = {0xb8, 0xe8, 0x03, 0,
                                    0,    0x0f, 0x01, 0xd9}; // mov eax,1000; vmmcall
constexpr std::uint8_t vmcall[] = {0xb8, 0xe8, 0x03, 0, 0, 0x0f, 0x01, 0xc1};
constexpr std::uint8_t rdmsr[] = {0xb9, 0x1b, 0, 0, 0, 0x0f, 0x32}; // mov ecx,APIC_BASE; rdmsr
constexpr std::uint8_t wrmsr[] = {0xb9, 0x77, 0x02, 0,    0,    0xb8, 0x06, 0x04, 0x07,
                                  0,    0xba, 0x06, 0x04, 0x07, 0,    0x0f, 0x30}; // PAT
// On Intel PAT is the guest's own under hwv, so BIOS_SIGN_ID = 0, which both take and forget.
constexpr std::uint8_t wrmsr_intel[] = {0xb9, 0x8b, 0, 0, 0, 0x31, 0xc0, 0x31, 0xd2, 0x0f, 0x30};
constexpr std::uint8_t out_user[] = {0xe6, 0x80};   // out 0x80,al
constexpr std::uint8_t in_user[] = {0xe5, 0x80};    // in eax,0x80
constexpr std::uint8_t mmio_write[] = {0x89, 0x03}; // mov [rbx],eax
constexpr std::uint8_t mmio_read[] = {0x8b, 0x03};  // mov eax,[rbx]
constexpr std::uint8_t hlt[] = {0xf4};
constexpr std::uint8_t touch[] = {0x48, 0x89, 0x3b, 0x48, 0x81,
                                  0xc3, 0,    0x10, 0,    0}; // mov [rbx],rdi; add rbx,4096

// code: rdtsc; r8 = it; the loop; jmp finish. finish: rdtsc; r9 = it; hlt
void assemble(std::span<std::uint8_t> memory, std::span<const std::uint8_t> body) {
    std::uint8_t *at = memory.data() + code;
    const auto put = [&at](std::initializer_list<std::uint8_t> b) {
        at = std::copy(b.begin(), b.end(), at);
    };
    put({0x0f, 0x31, 0x48, 0xc1, 0xe2, 32, 0x48, 0x09, 0xd0, 0x49, 0x89,
         0xc0}); // rdtsc; shl rdx,32; or rax,rdx; mov r8,rax
    const std::uint8_t *top = at;
    at = std::copy(body.begin(), body.end(), at);
    put({0x48, 0xff, 0xcf, 0x0f, 0x85}); // dec rdi; jnz top
    const auto back = static_cast<std::int32_t>(top - (at + 4));
    std::memcpy(at, &back, 4);
    at += 4;
    put({0xe9}); // jmp finish
    const auto on = static_cast<std::int32_t>(memory.data() + finish - (at + 4));
    std::memcpy(at, &on, 4);
    at = memory.data() + finish;
    put({0x0f, 0x31, 0x48, 0xc1, 0xe2, 32, 0x48, 0x09, 0xd0, 0x49, 0x89, 0xc1,
         0xf4}); // ... mov r9,rax; hlt
}

std::uint64_t cycles(TestVm &vm, const Row &row, std::uint64_t count) {
    hwv_regs regs = oracle::long_mode(vm.memory(), code);
    regs.gpr[HWV_RDI] = count;
    regs.gpr[HWV_RBX] = row.setup_rbx;
    vm.set_regs(regs, HWV_REGS_GPR | HWV_REGS_SEGMENT | HWV_REGS_CONTROL);
    for (std::uint64_t i = 0; i < row.halts * count + 1; ++i)
        vm.run_to_halt();
    const hwv_regs after = vm.regs();
    return after.gpr[9] - after.gpr[8];
}

// An exit program that says that it ran, and no more: what having one costs.
int plain_program() {
    constexpr int ack = offsetof(hwv_program_context, ack);
    const bpf_insn code[] = {
        {.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_REG_1},
        {.code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_1, .off = ack, .imm = 1},
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
        {.code = BPF_JMP | BPF_EXIT}};
    const int fd = ::bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, "plain", "GPL", code,
                                   std::size(code), nullptr);
    if (fd < 0) hwv::fail("load a program", -fd);
    return fd;
}

// The file's first one. It stays until this process ends.
int program_of(const char *file) {
    bpf_object *object = ::bpf_object__open_file(file, nullptr);
    if (!object || ::bpf_object__load(object)) hwv::fail(std::string{"load "} + file);
    return ::bpf_program__fd(::bpf_object__next_program(object, nullptr));
}

// Of the VM that was made last.
std::optional<hwv::Observer> observe(const char *how) {
    if (!how) return std::nullopt;
    hwv::Observer observer = hwv::attach(hwv::list_vms().back().id);
    if (std::strcmp(how, "ring") == 0) {
        observer.open_ring({.capacity = 1 << 16});
    } else if (std::strcmp(how, "filter") != 0) {
        const int program = std::strcmp(how, "program") == 0 ? plain_program() : program_of(how);
        hwv::attach_program(observer, program, 1ull << HWV_EXIT_CPUID);
    } else {
        const hwv_rule rule{.reason = HWV_EXIT_CPUID,
                            .action = HWV_ACTION_COUNT,
                            .flags = HWV_RULE_KEY,
                            .key_first = 0x1234'5678,
                            .key_last = 0x1234'5678};
        observer.set_policy({&rule, 1});
    }
    return observer;
}

// Pages are touched once only, so each batch of the rows that touch them has pages of its own.
double measure(Kind kind, const Row &row, const char *how = nullptr) {
    const bool once = row.setup_rbx >= 0x200000 && row.setup_rbx < hole;
    auto vm = oracle::make_vm(kind, row.options);
    const auto observer = observe(how);
    assemble(vm->memory(), row.body);
    cycles(*vm, row, once ? 16 : std::min(warm_up, iterations));
    std::vector<double> costs;
    for (std::uint64_t batch = 0; batch < batches; ++batch) {
        Row moved = row;
        if (once) moved.setup_rbx += (64 + batch * iterations) * 4096;
        costs.push_back(static_cast<double>(cycles(*vm, moved, iterations)) /
                        static_cast<double>(iterations));
    }
    std::ranges::nth_element(costs, costs.begin() + batches / 2);
    return costs[batches / 2];
}

} // namespace

int main(int argc, char **argv) {
    if (argc > 3) iterations = std::strtoull(argv[3], nullptr, 10);
    constexpr std::size_t large = 32u << 20;
    const oracle::Options plain{}, present{.memory = large, .populate = true},
        absent{.memory = large, .populate = false};
    const Row empty{"loop", bytes(nothing), plain};
    const Row rows[] = {{"cpuid", bytes(cpuid), plain},
                        {"hypercall", oracle::on_intel() ? bytes(vmcall) : bytes(vmmcall), plain},
                        {"rdmsr", bytes(rdmsr), plain},
                        {"wrmsr", oracle::on_intel() ? bytes(wrmsr_intel) : bytes(wrmsr), plain},
                        {"out_user", bytes(out_user), plain},
                        {"in_user", bytes(in_user), plain},
                        {"mmio_write_user", bytes(mmio_write), plain, hole},
                        {"mmio_read_user", bytes(mmio_read), plain, hole},
                        {"hlt_user", bytes(hlt), plain, 0, 1},
                        {"npf_present", bytes(touch), present, 0x400000},
                        {"npf_alloc", bytes(touch), absent, 0x400000}};
    for (const Kind kind : {Kind::hwv, Kind::kvm}) {
        if (argc > 1 && std::strcmp(argv[1], oracle::name(kind)) != 0) continue;
        if (!oracle::available(kind)) {
            std::printf("skip %s - no device\n", oracle::name(kind));
            continue;
        }
        try {
            const double loop = measure(kind, empty);
            for (const Row &row : rows) {
                if (argc > 2 && std::strcmp(argv[2], row.name) != 0) continue;
                std::printf("%s %s %.0f\n", row.name, oracle::name(kind),
                            measure(kind, row, argc > 4 ? argv[4] : nullptr) - loop);
                std::fflush(stdout);
            }
        } catch (const std::exception &e) {
            std::fprintf(stderr, "exits: %s: %s\n", oracle::name(kind), e.what());
            return 1;
        }
    }
    return 0;
}
