// SPDX-License-Identifier: GPL-2.0-only
// hwv_regs of the run page: one wrong field refuses all groups, and nothing changes.
#include <cstring>
#include "core/machine.hpp"

namespace {

using namespace hwv;
using namespace hwv::test;

class Registers : public CoreMachine {
  protected:
    hwv_regs published() {
        page.reply = {.wanted = HWV_REGS_ALL};
        EXPECT_EQ(vcpu->sync(), 0);
        return page.regs;
    }
    int take_over(const hwv_regs &regs, std::uint32_t groups = HWV_REGS_ALL) {
        page.regs = regs;
        page.reply = {.dirty = groups};
        return vcpu->sync();
    }
    // A state that differs from the vCPU's in every group.
    hwv_regs valid() {
        hwv_regs r = published();
        for (unsigned i = 0; i < HWV_GPRS; ++i)
            r.gpr[i] = 0x1111'2222'3333'0000 + i;
        r.rip = 0xffff'8000'1234'5678;
        r.rflags = rflags::fixed | rflags::if_;
        for (unsigned i = 0; i < HWV_SEGMENTS; ++i)
            r.segment[i] = {0x1000 + i, 0xffff + i, static_cast<__u16>(8 * i), 0x93};
        r.gdtr = {0xffff'8000'0000'1000, 0x7f, 0};
        r.idtr = {0xffff'8000'0000'2000, 0xfff, 0};
        r.cr0 = cr0::pe | cr0::pg | cr0::et | cr0::wp;
        r.cr2 = 0xdead'beef;
        r.cr3 = 0x12'3000;
        r.cr4 = cr4::pae | cr4::pge;
        r.cr8 = 9;
        r.efer = efer::lme | efer::lma | efer::nxe;
        r.xcr0 = 7;
        for (unsigned i = 0; i < 4; ++i)
            r.dr[i] = 0x4000 + i;
        r.dr6 = 0xffff'0ff1;
        r.dr7 = 0x401;
        r.event = {.type = HWV_EVENT_EXCEPTION,
                   .vector = 14,
                   .has_error_code = 1,
                   .length = 0,
                   .error_code = 2,
                   .nmi_pending = 1,
                   .nmi_blocked = 1,
                   .shadow = HWV_SHADOW_STI,
                   .mp_state = HWV_MP_HALTED,
                   .reserved = {}};
        return r;
    }
};

bool same(const hwv_regs &a, const hwv_regs &b) { return !std::memcmp(&a, &b, sizeof(a)); }

TEST_F(Registers, a_valid_state_is_taken_over_whole) {
    const hwv_regs r = valid();
    ASSERT_FALSE(same(published(), r));
    ASSERT_EQ(take_over(r), 0);
    EXPECT_TRUE(same(published(), r));
}

TEST_F(Registers, only_the_groups_that_are_dirty) {
    const hwv_regs before = published(), r = valid();
    ASSERT_EQ(take_over(r, HWV_REGS_DEBUG), 0);
    hwv_regs expected = before;
    std::memcpy(expected.dr, r.dr, sizeof(r.dr));
    expected.dr6 = r.dr6;
    expected.dr7 = r.dr7;
    EXPECT_TRUE(same(published(), expected));
    EXPECT_EQ(take_over(r, HWV_REGS_ALL + 1), -22);
}

struct Spoilt {
    const char *what;
    void (*spoil)(hwv_regs &);
};

const Spoilt spoilt[] = {
    {"rflags bit 1 clear", [](hwv_regs &r) { r.rflags = 0; }},
    {"rflags reserved bit", [](hwv_regs &r) { r.rflags |= 1u << 15; }},
    {"segment attributes", [](hwv_regs &r) { r.segment[HWV_TR].attributes |= 0x2000; }},
    {"segment base", [](hwv_regs &r) { r.segment[HWV_FS].base = 1ull << 47; }},
    {"gdtr limit", [](hwv_regs &r) { r.gdtr.limit = 0x10000; }},
    {"idtr limit", [](hwv_regs &r) { r.idtr.limit = 0x10000; }},
    {"gdtr base", [](hwv_regs &r) { r.gdtr.base = 1ull << 63; }},
    {"idtr base", [](hwv_regs &r) { r.idtr.base = 1ull << 63; }},
    {"gdtr reserved", [](hwv_regs &r) { r.gdtr.reserved = 1; }},
    {"idtr reserved", [](hwv_regs &r) { r.idtr.reserved = 1; }},
    {"cr0 upper half", [](hwv_regs &r) { r.cr0 |= 1ull << 32; }},
    {"cr0 reserved bit", [](hwv_regs &r) { r.cr0 |= 1u << 6; }},
    {"cr0 paging alone", [](hwv_regs &r) { r.cr0 &= ~cr0::pe; }},
    {"cr0 write-through alone", [](hwv_regs &r) { r.cr0 |= cr0::nw; }},
    {"cr4 bit that was not offered", [](hwv_regs &r) { r.cr4 |= cr4::vmxe; }},
    {"efer bit that was not offered", [](hwv_regs &r) { r.efer |= efer::svme; }},
    {"long mode without PAE", [](hwv_regs &r) { r.cr4 &= ~cr4::pae; }},
    {"active long mode not enabled", [](hwv_regs &r) { r.efer &= ~efer::lme; }},
    {"long mode enabled, paging on, not active", [](hwv_regs &r) { r.efer &= ~efer::lma; }},
    {"active long mode without paging", [](hwv_regs &r) { r.cr0 &= ~cr0::pg; }},
    {"cr3 beyond the address width", [](hwv_regs &r) { r.cr3 |= 1ull << 48; }},
    {"cr8", [](hwv_regs &r) { r.cr8 = 16; }},
    {"xcr0 without x87", [](hwv_regs &r) { r.xcr0 = 6; }},
    {"xcr0 bit that was not offered", [](hwv_regs &r) { r.xcr0 |= 1u << 9; }},
    {"apic base beyond the address width", [](hwv_regs &r) { r.apic_base |= 1ull << 60; }},
    {"dr6 upper half", [](hwv_regs &r) { r.dr6 |= 1ull << 32; }},
    {"dr7 upper half", [](hwv_regs &r) { r.dr7 |= 1ull << 32; }},
    {"event type", [](hwv_regs &r) { r.event.type = HWV_EVENT_SOFTWARE + 1; }},
    {"exception vector", [](hwv_regs &r) { r.event.vector = 32; }},
    {"an NMI as exception", [](hwv_regs &r) { r.event.vector = 2; }},
    {"error code flag", [](hwv_regs &r) { r.event.has_error_code = 2; }},
    {"software event without length", [](hwv_regs &r) { r.event.type = HWV_EVENT_SOFTWARE; }},
    {"software event too long",
     [](hwv_regs &r) { r.event.type = HWV_EVENT_SOFTWARE, r.event.length = 16; }},
    {"three NMIs", [](hwv_regs &r) { r.event.nmi_pending = 3; }},
    {"nmi_blocked", [](hwv_regs &r) { r.event.nmi_blocked = 2; }},
    {"shadow", [](hwv_regs &r) { r.event.shadow = 4; }},
    {"mp_state", [](hwv_regs &r) { r.event.mp_state = HWV_MP_SHUTDOWN + 1; }},
    {"reserved byte 0", [](hwv_regs &r) { r.event.reserved[0] = 1; }},
    {"reserved byte 3", [](hwv_regs &r) { r.event.reserved[3] = 1; }},
};

TEST_F(Registers, one_wrong_field_changes_nothing) {
    const hwv_regs before = published(), good = valid();
    for (const Spoilt &s : spoilt) {
        hwv_regs r = good;
        s.spoil(r);
        ASSERT_FALSE(same(r, good)) << s.what;
        EXPECT_EQ(take_over(r), -22) << s.what;
        EXPECT_TRUE(same(published(), before)) << s.what;
    }
}

TEST_F(Registers, on_a_cpu_that_is_off_nothing_is_lost_unsaid) {
    const hwv_regs before = published();
    backend().cpu_off = true;
    EXPECT_EQ(take_over(valid()), -19); // ENODEV
    (void)published();
    EXPECT_EQ(page.regs.valid, 0u);
    hwv_msr_entry efer{.index = 0xc000'0080, .reserved = 0, .value = 0};
    PreemptGuard guard;
    EXPECT_EQ(vcpu->host_msr(efer, false).error(), Error::no_device);
    backend().cpu_off = false;
    EXPECT_TRUE(same(published(), before));
}

TEST_F(Registers, a_wrong_field_of_a_clean_group_is_not_looked_at) {
    hwv_regs r = valid();
    r.rflags = 0;
    r.cr8 = 16;
    EXPECT_EQ(take_over(r, HWV_REGS_SEGMENT), 0);
    EXPECT_EQ(backend().segment(HWV_GS).base, 0x1000u + HWV_GS);
}

} // namespace
