// SPDX-License-Identifier: GPL-2.0-only
// Fields against the tables of Intel SDM vol. 3, appendix "Field Encoding in VMCS": width, area,
// index.
#include <gtest/gtest.h>
#include <set>
#include "vmx/controls.hpp"
#include "vmx/vmcs.hpp"

using namespace hwv::vmx;

namespace {

struct Row {
    const char *name;
    std::uint16_t encoding;
    std::size_t size;
    bool read_only;
};

template <typename T, std::uint16_t E>
constexpr Row row(const char *name, Field<T, E> f) {
    return {name, E, sizeof(T), f.read_only};
}
#define ROW(name) row(#name, field::name)

struct Table {
    Width width;
    Area area;
    unsigned first; // index of the first row
    std::vector<Row> rows;
};

const Table tables[] = {
    {Width::bits16, Area::control, 0, {ROW(vpid), ROW(posted_vector)}},
    {Width::bits16,
     Area::guest,
     0,
     {ROW(guest_es_selector), ROW(guest_cs_selector), ROW(guest_ss_selector),
      ROW(guest_ds_selector), ROW(guest_fs_selector), ROW(guest_gs_selector),
      ROW(guest_ldtr_selector), ROW(guest_tr_selector), ROW(guest_interrupt_status),
      ROW(pml_index)}},
    {Width::bits16,
     Area::host,
     0,
     {ROW(host_es_selector), ROW(host_cs_selector), ROW(host_ss_selector), ROW(host_ds_selector),
      ROW(host_fs_selector), ROW(host_gs_selector), ROW(host_tr_selector)}},
    {Width::bits64,
     Area::control,
     0,
     {ROW(io_bitmap_a), ROW(io_bitmap_b), ROW(msr_bitmap), ROW(exit_msr_store), ROW(exit_msr_load),
      ROW(entry_msr_load)}},
    {Width::bits64,
     Area::control,
     7,
     {ROW(pml_address), ROW(tsc_offset), ROW(virtual_apic), ROW(apic_access),
      ROW(posted_descriptor)}},
    {Width::bits64,
     Area::control,
     13,
     {ROW(ept_pointer), ROW(eoi_exit_0), ROW(eoi_exit_1), ROW(eoi_exit_2), ROW(eoi_exit_3)}},
    {Width::bits64, Area::control, 22, {ROW(xss_exit_bitmap), ROW(encls_exit_bitmap)}},
    {Width::bits64,
     Area::control,
     25,
     {ROW(tsc_multiplier), ROW(tertiary_controls), ROW(enclv_exit_bitmap)}},
    {Width::bits64, Area::exit_information, 0, {ROW(guest_physical)}},
    {Width::bits64,
     Area::guest,
     0,
     {ROW(vmcs_link), ROW(guest_debugctl), ROW(guest_pat), ROW(guest_efer),
      ROW(guest_perf_global_ctrl), ROW(guest_pdpte_0), ROW(guest_pdpte_1), ROW(guest_pdpte_2),
      ROW(guest_pdpte_3), ROW(guest_bndcfgs)}},
    {Width::bits64, Area::guest, 12, {ROW(guest_pkrs)}},
    {Width::bits64,
     Area::host,
     0,
     {ROW(host_pat), ROW(host_efer), ROW(host_perf_global_ctrl), ROW(host_pkrs)}},
    {Width::bits32,
     Area::control,
     0,
     {ROW(pin_controls), ROW(primary_controls), ROW(exception_bitmap), ROW(pf_error_mask),
      ROW(pf_error_match), ROW(cr3_target_count), ROW(exit_controls), ROW(exit_msr_store_count),
      ROW(exit_msr_load_count), ROW(entry_controls), ROW(entry_msr_load_count),
      ROW(entry_interruption), ROW(entry_error_code), ROW(entry_instruction_length),
      ROW(tpr_threshold), ROW(secondary_controls), ROW(ple_gap), ROW(ple_window)}},
    {Width::bits32,
     Area::exit_information,
     0,
     {ROW(instruction_error), ROW(exit_reason), ROW(exit_interruption),
      ROW(exit_interruption_error), ROW(vectoring), ROW(vectoring_error),
      ROW(exit_instruction_length), ROW(exit_instruction_info)}},
    {Width::bits32,
     Area::guest,
     0,
     {ROW(guest_es_limit),         ROW(guest_cs_limit),           ROW(guest_ss_limit),
      ROW(guest_ds_limit),         ROW(guest_fs_limit),           ROW(guest_gs_limit),
      ROW(guest_ldtr_limit),       ROW(guest_tr_limit),           ROW(guest_gdtr_limit),
      ROW(guest_idtr_limit),       ROW(guest_es_access_rights),   ROW(guest_cs_access_rights),
      ROW(guest_ss_access_rights), ROW(guest_ds_access_rights),   ROW(guest_fs_access_rights),
      ROW(guest_gs_access_rights), ROW(guest_ldtr_access_rights), ROW(guest_tr_access_rights),
      ROW(guest_interruptibility), ROW(guest_activity),           ROW(guest_smbase),
      ROW(guest_sysenter_cs)}},
    {Width::bits32, Area::guest, 23, {ROW(preemption_timer)}},
    {Width::bits32, Area::host, 0, {ROW(host_sysenter_cs)}},
    {Width::natural,
     Area::control,
     0,
     {ROW(cr0_mask), ROW(cr4_mask), ROW(cr0_shadow), ROW(cr4_shadow), ROW(cr3_target_0),
      ROW(cr3_target_1), ROW(cr3_target_2), ROW(cr3_target_3)}},
    {Width::natural, Area::exit_information, 0, {ROW(qualification)}},
    {Width::natural, Area::exit_information, 5, {ROW(guest_linear)}},
    {Width::natural,
     Area::guest,
     0,
     {ROW(guest_cr0),          ROW(guest_cr3),          ROW(guest_cr4),
      ROW(guest_es_base),      ROW(guest_cs_base),      ROW(guest_ss_base),
      ROW(guest_ds_base),      ROW(guest_fs_base),      ROW(guest_gs_base),
      ROW(guest_ldtr_base),    ROW(guest_tr_base),      ROW(guest_gdtr_base),
      ROW(guest_idtr_base),    ROW(guest_dr7),          ROW(guest_rsp),
      ROW(guest_rip),          ROW(guest_rflags),       ROW(guest_pending_debug),
      ROW(guest_sysenter_esp), ROW(guest_sysenter_eip), ROW(guest_s_cet),
      ROW(guest_ssp),          ROW(guest_ssp_table)}},
    {Width::natural,
     Area::host,
     0,
     {ROW(host_cr0), ROW(host_cr3), ROW(host_cr4), ROW(host_fs_base), ROW(host_gs_base),
      ROW(host_tr_base), ROW(host_gdtr_base), ROW(host_idtr_base), ROW(host_sysenter_esp),
      ROW(host_sysenter_eip), ROW(host_rsp), ROW(host_rip), ROW(host_s_cet), ROW(host_ssp),
      ROW(host_ssp_table)}},
};

TEST(VmxFields, HaveTheManualsEncodings) {
    std::set<std::uint16_t> seen;
    for (const Table &table : tables) {
        unsigned index = table.first;
        for (const Row &row : table.rows) {
            EXPECT_EQ(row.encoding, encode(table.width, table.area, index++)) << row.name;
            EXPECT_TRUE(seen.insert(row.encoding).second) << row.name;
        }
    }
}

TEST(VmxFields, AreAsWideAsTheirValues) {
    const std::size_t sizes[] = {2, 8, 4, 8};
    for (const Table &table : tables)
        for (const Row &row : table.rows) {
            EXPECT_EQ(row.size, sizes[static_cast<unsigned>(table.width)]) << row.name;
            EXPECT_EQ(row.read_only, table.area == Area::exit_information) << row.name;
        }
}

TEST(VmxAccessRights, AreHwvsAttributesWithAGap) {
    for (unsigned attributes = 0; attributes < 0x2000; attributes++) {
        const std::uint32_t rights = to_access_rights(attributes);
        EXPECT_EQ(to_attributes(rights), attributes);
        EXPECT_EQ(rights & 0xff, attributes & 0xff);
        EXPECT_EQ((rights & access_rights::avl) != 0, (attributes >> 8 & 1) != 0);
        EXPECT_EQ((rights & access_rights::l) != 0, (attributes >> 9 & 1) != 0);
        EXPECT_EQ((rights & access_rights::db) != 0, (attributes >> 10 & 1) != 0);
        EXPECT_EQ((rights & access_rights::g) != 0, (attributes >> 11 & 1) != 0);
        EXPECT_EQ((rights & access_rights::unusable) != 0, (attributes >> 12 & 1) != 0);
        EXPECT_EQ(rights & ~access_rights::defined, 0u);
    }
}

} // namespace
