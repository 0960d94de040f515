// SPDX-License-Identifier: GPL-2.0-only
// machine.hpp - fixture: a VM of the fake vendor with one vCPU in 64-bit mode, paging off, RIP at
// 0x1000.
#pragma once
#include <gtest/gtest.h>
#include <memory>
#include "core/defaults.hpp"
#include "core/fake_backend.hpp"
#include "core/run_loop.hpp"
#include "cpu/fake_machine.hpp"

namespace hwv::test {

using FakeVcpu = VcpuOf<FakeBackend>;
inline constexpr npt::TableShape<npt::NptFormat> shape{npt::NptFormat{}, 4};

inline void any_cpuid(std::uint32_t leaf, std::uint32_t, std::uint32_t (&out)[4]) {
    switch (leaf) {
    case 0: out[0] = 0xd; return;
    case 1:
    case 7: out[0] = leaf == 1 ? 0x600 : 0, out[1] = out[2] = out[3] = ~0u; return;
    case 0x8000'0000: out[0] = 0x8000'0008; return;
    case 0x8000'0001: out[2] = out[3] = ~0u; return;
    default: return;
    }
}

class CoreMachine : public testing::Test {
  protected:
    void SetUp() override {
        fake::hardware().reset();
        fake::host().reset();
        blocks_before = host.blocks;
        ::fake::reset();
        ::fake::machine().cpuid = any_cpuid;
        ASSERT_TRUE(defaults::init());
        ASSERT_TRUE(residency::init());
        make(0);
    }
    void TearDown() override {
        vcpu.reset();
        vm.reset();
        defaults::exit();
        residency::exit();
        EXPECT_EQ(host.blocks, blocks_before) << "memory not freed";
        EXPECT_EQ(host.preempt_off, 0);
        EXPECT_EQ(host.locks, 0);
        for (const std::string &v : fake::hardware().violations)
            ADD_FAILURE() << v;
    }

    void make(std::uint64_t flags, std::uint32_t id = 0) {
        vcpu.reset();
        vm.reset();
        page = {};
        vm = std::make_unique<FakeVcpu::Machine>(nullptr, hwv_create_vm{.flags = flags}, shape);
        ASSERT_TRUE(vm->memory.init());
        vcpu = std::make_unique<FakeVcpu>(*vm, id, nullptr, &page);
        ASSERT_TRUE(vcpu->init());
        ASSERT_TRUE(vm->add(*vcpu, id));
        FakeBackend &b = vcpu->backend;
        b.rip_ = 0x1000;
        b.cr0_ = cr0::pe | cr0::et;
        b.efer_ = efer::lme | efer::lma;
        b.segments_[HWV_CS].attributes = 0x9b | segment::l;
        b.rip_moves = 0;
    }

    // What the guest does next: exits.
    void exits(const Exit &exit, std::initializer_list<std::uint8_t> bytes = {}) {
        RawExit raw{exit, {}};
        raw.bytes[0] = static_cast<std::uint8_t>(bytes.size());
        std::copy(bytes.begin(), bytes.end(), raw.bytes.begin() + 1);
        does([raw](FakeBackend &, Gprs &) { return raw; });
    }
    void exits(ExitReason reason, std::uint8_t length = 0) {
        exits(Exit{.reason = reason, .length = length});
    }
    void does(FakeBackend::Turn turn) { backend().script.push_back(std::move(turn)); }
    // Another thread's kick ends the run, RIP where it is.
    void is_kicked() {
        does([this](FakeBackend &, Gprs &) {
            vcpu->ask(request::kick);
            return RawExit{Exit{.reason = HWV_EXIT_HOST_INTERRUPT}, {}};
        });
    }

    int run(const hwv_reply &reply = {}) {
        page.reply = reply;
        const PreemptGuard guard;
        const int error = vcpu->run_guest(0, &host.works);
        EXPECT_TRUE(host.irqs_off);
        host.irqs_off = false;
        EXPECT_FALSE(backend().loaded);
        EXPECT_TRUE(error || backend().script.empty()) << "turns that were not taken";
        return error;
    }
    // One more run, that ends by a kick at once.
    void run_and_kick(const hwv_reply &reply = {}) {
        is_kicked();
        ASSERT_EQ(run(reply), 0);
        ASSERT_EQ(page.exit.reason, unsigned{HWV_EXIT_KICKED});
    }

    FakeBackend &backend() { return vcpu->backend; }
    Event delivered(unsigned entry) { return backend().delivered.at(entry); }

    fake::Host &host = fake::host();
    std::int64_t blocks_before = 0;
    hwv_run page{};
    std::unique_ptr<FakeVcpu::Machine> vm;
    std::unique_ptr<FakeVcpu> vcpu;
};

constexpr Exit io_exit(bool write, std::uint8_t size, std::uint8_t length = 1) {
    Exit e{.reason = HWV_EXIT_IO, .length = length};
    e.io = {.port = 0x3f8,
            .size = size,
            .write = write,
            .string = false,
            .rep = false,
            .segment = 0,
            .address_size = 0};
    return e;
}

constexpr Exit fault_exit(std::uint64_t gpa, bool write) {
    Exit e{.reason = HWV_EXIT_PAGE_FAULT};
    e.fault = {
        .gpa = gpa, .write = write, .fetch = false, .present = false, .in_table_walk = false};
    return e;
}

} // namespace hwv::test
