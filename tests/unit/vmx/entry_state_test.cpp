// SPDX-License-Identifier: GPL-2.0-only
// Every value comes out of its own field: each field's value is its encoding here. Intel SDM vol.
// 3, appendix "Field Encoding in VMCS".
#include "vmx/checker_states.hpp"
#include "vmx/entry_state.hpp"

namespace hwv::vmx::test {
namespace {

struct VmxEntryState : testing::Test {
    static constexpr auto read = [](auto field, unsigned index) {
        return static_cast<typename decltype(field)::type>(field.encoding + 2 * index);
    };
    EntryState state = read_entry_state(read, 0x55);
};

TEST_F(VmxEntryState, Controls) {
    const Controls &c = state.controls;
    EXPECT_EQ(c.pin, 0x4000u);
    EXPECT_EQ(c.primary, 0x4002u);
    EXPECT_EQ(c.secondary, 0x401eu);
    EXPECT_EQ(c.exit, 0x400cu);
    EXPECT_EQ(c.entry, 0x4012u);
    EXPECT_EQ(c.exception_bitmap, 0x4004u);
    EXPECT_EQ(c.cr3_target_count, 0x400au);
    EXPECT_EQ(c.tpr_threshold, 0x401cu);
    EXPECT_EQ(c.vpid, 0);
    EXPECT_EQ(c.posted_vector, 2);
    EXPECT_EQ(c.virtual_tpr, 0x55);
    EXPECT_EQ(c.cr0_mask, 0x6000u);
    EXPECT_EQ(c.cr4_mask, 0x6002u);
    EXPECT_EQ(c.io_bitmap_a, 0x2000u);
    EXPECT_EQ(c.io_bitmap_b, 0x2002u);
    EXPECT_EQ(c.msr_bitmap, 0x2004u);
    EXPECT_EQ(c.virtual_apic, 0x2012u);
    EXPECT_EQ(c.apic_access, 0x2014u);
    EXPECT_EQ(c.posted_descriptor, 0x2016u);
    EXPECT_EQ(c.ept_pointer, 0x201au);
    EXPECT_EQ(c.pml_address, 0x200eu);
    EXPECT_EQ(c.tsc_multiplier, 0x2032u);
}

TEST_F(VmxEntryState, ListsAndTheEvent) {
    const Controls &c = state.controls;
    EXPECT_EQ(c.exit_msr_store, 0x2006u);
    EXPECT_EQ(c.exit_msr_load, 0x2008u);
    EXPECT_EQ(c.entry_msr_load, 0x200au);
    EXPECT_EQ(c.exit_msr_store_count, 0x400eu);
    EXPECT_EQ(c.exit_msr_load_count, 0x4010u);
    EXPECT_EQ(c.entry_msr_load_count, 0x4014u);
    EXPECT_EQ(c.entry_interruption, 0x4016u);
    EXPECT_EQ(c.entry_error_code, 0x4018u);
    EXPECT_EQ(c.entry_instruction_length, 0x401au);
}

TEST_F(VmxEntryState, Host) {
    const HostState &h = state.host;
    EXPECT_EQ(h.cr0, 0x6c00u);
    EXPECT_EQ(h.cr3, 0x6c02u);
    EXPECT_EQ(h.cr4, 0x6c04u);
    EXPECT_EQ(h.pat, 0x2c00u);
    EXPECT_EQ(h.efer, 0x2c02u);
    EXPECT_EQ(h.perf_global_ctrl, 0x2c04u);
    const std::uint16_t selectors[] = {h.es, h.cs, h.ss, h.ds, h.fs, h.gs, h.tr};
    for (unsigned i = 0; i < 7; i++)
        EXPECT_EQ(selectors[i], 0xc00 + 2 * i) << i;
    const std::uint64_t addresses[] = {h.fs_base,   h.gs_base,      h.tr_base,     h.gdtr_base,
                                       h.idtr_base, h.sysenter_esp, h.sysenter_eip};
    for (unsigned i = 0; i < 7; i++)
        EXPECT_EQ(addresses[i], 0x6c06 + 2 * i) << i;
    EXPECT_EQ(h.rip, 0x6c16u);
}

TEST_F(VmxEntryState, GuestRegisters) {
    const GuestState &g = state.guest;
    EXPECT_EQ(g.cr0, 0x6800u);
    EXPECT_EQ(g.cr3, 0x6802u);
    EXPECT_EQ(g.cr4, 0x6804u);
    EXPECT_EQ(g.debugctl, 0x2802u);
    EXPECT_EQ(g.pat, 0x2804u);
    EXPECT_EQ(g.efer, 0x2806u);
    EXPECT_EQ(g.perf_global_ctrl, 0x2808u);
    EXPECT_EQ(g.dr7, 0x681au);
    EXPECT_EQ(g.rip, 0x681eu);
    EXPECT_EQ(g.rflags, 0x6820u);
    EXPECT_EQ(g.pending_debug, 0x6822u);
    EXPECT_EQ(g.sysenter_esp, 0x6824u);
    EXPECT_EQ(g.sysenter_eip, 0x6826u);
    EXPECT_EQ(g.interruptibility, 0x4824u);
    EXPECT_EQ(g.activity, 0x4826u);
    EXPECT_EQ(g.vmcs_link, 0x2800u);
    for (unsigned i = 0; i < 4; i++)
        EXPECT_EQ(g.pdptes[i], 0x280a + 2 * i) << i;
}

TEST_F(VmxEntryState, GuestSegmentsAndTables) {
    const GuestState &g = state.guest;
    for (unsigned i = 0; i < HWV_SEGMENTS; i++) { // as hwv_segment_index has them
        EXPECT_EQ(g.segments[i].selector, 0x800 + 2 * i) << i;
        EXPECT_EQ(g.segments[i].limit, 0x4800 + 2 * i) << i;
        EXPECT_EQ(g.segments[i].access_rights, 0x4814 + 2 * i) << i;
        EXPECT_EQ(g.segments[i].base, 0x6806 + 2 * i) << i;
    }
    EXPECT_EQ(g.gdtr.base, 0x6816u);
    EXPECT_EQ(g.idtr.base, 0x6818u);
    EXPECT_EQ(g.gdtr.limit, 0x4810u);
    EXPECT_EQ(g.idtr.limit, 0x4812u);
}

} // namespace
} // namespace hwv::vmx::test
