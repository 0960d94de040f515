// SPDX-License-Identifier: GPL-2.0-only
// vmcs.hpp - the fields of the virtual-machine control structure, each a type: width and whether it
// may be written follow from its number. Intel SDM vol. 3, appendix "Field Encoding in VMCS".
#pragma once
#include <cstdint>

namespace hwv::vmx {

// Bits 14:13 of an encoding.
enum class Width : std::uint8_t { bits16, bits64, bits32, natural };
// Bits 11:10.
enum class Area : std::uint8_t { control, exit_information, guest, host };

constexpr std::uint16_t encode(Width width, Area area, unsigned index) {
    return static_cast<std::uint16_t>(static_cast<unsigned>(width) << 13 |
                                      static_cast<unsigned>(area) << 10 | index << 1);
}

constexpr unsigned bytes(Width width) {
    return width == Width::bits16 ? 2 : width == Width::bits32 ? 4 : 8;
}

// Empty: a number that only the typed read() and write() of arch.hpp take, with values of type T.
template <typename T, std::uint16_t Encoding>
struct Field {
    using type = T;
    static constexpr std::uint16_t encoding = Encoding;
    static constexpr Width width = static_cast<Width>(Encoding >> 13 & 3);
    static constexpr Area area = static_cast<Area>(Encoding >> 10 & 3);
    // Some CPUs would write these too (MSR IA32_VMX_MISC); hwv never does.
    static constexpr bool read_only = area == Area::exit_information;

    static_assert(sizeof(T) == bytes(width), "the value is not as wide as the field");
    static_assert(!(Encoding & 0x9001), "reserved bits, or the upper half of a 64-bit field");
};

template <std::uint16_t Encoding>
using Field16 = Field<std::uint16_t, Encoding>;
template <std::uint16_t Encoding>
using Field32 = Field<std::uint32_t, Encoding>;
template <std::uint16_t Encoding>
using Field64 = Field<std::uint64_t, Encoding>;

namespace field {
// 16-bit: control, guest, host
inline constexpr Field16<0x0000> vpid{};
inline constexpr Field16<0x0002> posted_vector{};
inline constexpr Field16<0x0800> guest_es_selector{};
inline constexpr Field16<0x0802> guest_cs_selector{};
inline constexpr Field16<0x0804> guest_ss_selector{};
inline constexpr Field16<0x0806> guest_ds_selector{};
inline constexpr Field16<0x0808> guest_fs_selector{};
inline constexpr Field16<0x080a> guest_gs_selector{};
inline constexpr Field16<0x080c> guest_ldtr_selector{};
inline constexpr Field16<0x080e> guest_tr_selector{};
inline constexpr Field16<0x0810> guest_interrupt_status{};
inline constexpr Field16<0x0812> pml_index{};
inline constexpr Field16<0x0c00> host_es_selector{};
inline constexpr Field16<0x0c02> host_cs_selector{};
inline constexpr Field16<0x0c04> host_ss_selector{};
inline constexpr Field16<0x0c06> host_ds_selector{};
inline constexpr Field16<0x0c08> host_fs_selector{};
inline constexpr Field16<0x0c0a> host_gs_selector{};
inline constexpr Field16<0x0c0c> host_tr_selector{};

// 64-bit: control
inline constexpr Field64<0x2000> io_bitmap_a{};
inline constexpr Field64<0x2002> io_bitmap_b{};
inline constexpr Field64<0x2004> msr_bitmap{};
inline constexpr Field64<0x2006> exit_msr_store{};
inline constexpr Field64<0x2008> exit_msr_load{};
inline constexpr Field64<0x200a> entry_msr_load{};
inline constexpr Field64<0x200e> pml_address{};
inline constexpr Field64<0x2010> tsc_offset{};
inline constexpr Field64<0x2012> virtual_apic{};
inline constexpr Field64<0x2014> apic_access{};
inline constexpr Field64<0x2016> posted_descriptor{};
inline constexpr Field64<0x201a> ept_pointer{};
inline constexpr Field64<0x201c> eoi_exit_0{};
inline constexpr Field64<0x201e> eoi_exit_1{};
inline constexpr Field64<0x2020> eoi_exit_2{};
inline constexpr Field64<0x2022> eoi_exit_3{};
inline constexpr Field64<0x202c> xss_exit_bitmap{};
inline constexpr Field64<0x202e> encls_exit_bitmap{};
inline constexpr Field64<0x2032> tsc_multiplier{};
inline constexpr Field64<0x2034> tertiary_controls{};
inline constexpr Field64<0x2036> enclv_exit_bitmap{};

// 64-bit: exit information, guest, host
inline constexpr Field64<0x2400> guest_physical{};
inline constexpr Field64<0x2800> vmcs_link{};
inline constexpr Field64<0x2802> guest_debugctl{};
inline constexpr Field64<0x2804> guest_pat{};
inline constexpr Field64<0x2806> guest_efer{};
inline constexpr Field64<0x2808> guest_perf_global_ctrl{};
inline constexpr Field64<0x280a> guest_pdpte_0{};
inline constexpr Field64<0x280c> guest_pdpte_1{};
inline constexpr Field64<0x280e> guest_pdpte_2{};
inline constexpr Field64<0x2810> guest_pdpte_3{};
inline constexpr Field64<0x2812> guest_bndcfgs{};
inline constexpr Field64<0x2818> guest_pkrs{};
inline constexpr Field64<0x2c00> host_pat{};
inline constexpr Field64<0x2c02> host_efer{};
inline constexpr Field64<0x2c04> host_perf_global_ctrl{};
inline constexpr Field64<0x2c06> host_pkrs{};

// 32-bit: control
inline constexpr Field32<0x4000> pin_controls{};
inline constexpr Field32<0x4002> primary_controls{};
inline constexpr Field32<0x4004> exception_bitmap{};
inline constexpr Field32<0x4006> pf_error_mask{};
inline constexpr Field32<0x4008> pf_error_match{};
inline constexpr Field32<0x400a> cr3_target_count{};
inline constexpr Field32<0x400c> exit_controls{};
inline constexpr Field32<0x400e> exit_msr_store_count{};
inline constexpr Field32<0x4010> exit_msr_load_count{};
inline constexpr Field32<0x4012> entry_controls{};
inline constexpr Field32<0x4014> entry_msr_load_count{};
inline constexpr Field32<0x4016> entry_interruption{};
inline constexpr Field32<0x4018> entry_error_code{};
inline constexpr Field32<0x401a> entry_instruction_length{};
inline constexpr Field32<0x401c> tpr_threshold{};
inline constexpr Field32<0x401e> secondary_controls{};
inline constexpr Field32<0x4020> ple_gap{};
inline constexpr Field32<0x4022> ple_window{};

// 32-bit: exit information
inline constexpr Field32<0x4400> instruction_error{};
inline constexpr Field32<0x4402> exit_reason{};
inline constexpr Field32<0x4404> exit_interruption{};
inline constexpr Field32<0x4406> exit_interruption_error{};
inline constexpr Field32<0x4408> vectoring{};
inline constexpr Field32<0x440a> vectoring_error{};
inline constexpr Field32<0x440c> exit_instruction_length{};
inline constexpr Field32<0x440e> exit_instruction_info{};

// 32-bit: guest, host
inline constexpr Field32<0x4800> guest_es_limit{};
inline constexpr Field32<0x4802> guest_cs_limit{};
inline constexpr Field32<0x4804> guest_ss_limit{};
inline constexpr Field32<0x4806> guest_ds_limit{};
inline constexpr Field32<0x4808> guest_fs_limit{};
inline constexpr Field32<0x480a> guest_gs_limit{};
inline constexpr Field32<0x480c> guest_ldtr_limit{};
inline constexpr Field32<0x480e> guest_tr_limit{};
inline constexpr Field32<0x4810> guest_gdtr_limit{};
inline constexpr Field32<0x4812> guest_idtr_limit{};
inline constexpr Field32<0x4814> guest_es_access_rights{};
inline constexpr Field32<0x4816> guest_cs_access_rights{};
inline constexpr Field32<0x4818> guest_ss_access_rights{};
inline constexpr Field32<0x481a> guest_ds_access_rights{};
inline constexpr Field32<0x481c> guest_fs_access_rights{};
inline constexpr Field32<0x481e> guest_gs_access_rights{};
inline constexpr Field32<0x4820> guest_ldtr_access_rights{};
inline constexpr Field32<0x4822> guest_tr_access_rights{};
inline constexpr Field32<0x4824> guest_interruptibility{};
inline constexpr Field32<0x4826> guest_activity{};
inline constexpr Field32<0x4828> guest_smbase{};
inline constexpr Field32<0x482a> guest_sysenter_cs{};
inline constexpr Field32<0x482e> preemption_timer{};
inline constexpr Field32<0x4c00> host_sysenter_cs{};

// natural width: control, exit information
inline constexpr Field64<0x6000> cr0_mask{};
inline constexpr Field64<0x6002> cr4_mask{};
inline constexpr Field64<0x6004> cr0_shadow{};
inline constexpr Field64<0x6006> cr4_shadow{};
inline constexpr Field64<0x6008> cr3_target_0{};
inline constexpr Field64<0x600a> cr3_target_1{};
inline constexpr Field64<0x600c> cr3_target_2{};
inline constexpr Field64<0x600e> cr3_target_3{};
inline constexpr Field64<0x6400> qualification{};
inline constexpr Field64<0x640a> guest_linear{};

// natural width: guest, host
inline constexpr Field64<0x6800> guest_cr0{};
inline constexpr Field64<0x6802> guest_cr3{};
inline constexpr Field64<0x6804> guest_cr4{};
inline constexpr Field64<0x6806> guest_es_base{};
inline constexpr Field64<0x6808> guest_cs_base{};
inline constexpr Field64<0x680a> guest_ss_base{};
inline constexpr Field64<0x680c> guest_ds_base{};
inline constexpr Field64<0x680e> guest_fs_base{};
inline constexpr Field64<0x6810> guest_gs_base{};
inline constexpr Field64<0x6812> guest_ldtr_base{};
inline constexpr Field64<0x6814> guest_tr_base{};
inline constexpr Field64<0x6816> guest_gdtr_base{};
inline constexpr Field64<0x6818> guest_idtr_base{};
inline constexpr Field64<0x681a> guest_dr7{};
inline constexpr Field64<0x681c> guest_rsp{};
inline constexpr Field64<0x681e> guest_rip{};
inline constexpr Field64<0x6820> guest_rflags{};
inline constexpr Field64<0x6822> guest_pending_debug{};
inline constexpr Field64<0x6824> guest_sysenter_esp{};
inline constexpr Field64<0x6826> guest_sysenter_eip{};
inline constexpr Field64<0x6828> guest_s_cet{};
inline constexpr Field64<0x682a> guest_ssp{};
inline constexpr Field64<0x682c> guest_ssp_table{};
inline constexpr Field64<0x6c00> host_cr0{};
inline constexpr Field64<0x6c02> host_cr3{};
inline constexpr Field64<0x6c04> host_cr4{};
inline constexpr Field64<0x6c06> host_fs_base{};
inline constexpr Field64<0x6c08> host_gs_base{};
inline constexpr Field64<0x6c0a> host_tr_base{};
inline constexpr Field64<0x6c0c> host_gdtr_base{};
inline constexpr Field64<0x6c0e> host_idtr_base{};
inline constexpr Field64<0x6c10> host_sysenter_esp{};
inline constexpr Field64<0x6c12> host_sysenter_eip{};
inline constexpr Field64<0x6c14> host_rsp{};
inline constexpr Field64<0x6c16> host_rip{};
inline constexpr Field64<0x6c18> host_s_cet{};
inline constexpr Field64<0x6c1a> host_ssp{};
inline constexpr Field64<0x6c1c> host_ssp_table{};
} // namespace field

// The first or the last of each table of the appendix, by width, area and index.
namespace detail {
template <typename T, std::uint16_t E>
constexpr bool is(Field<T, E>, Width width, Area area, unsigned index) {
    return E == encode(width, area, index);
}
static_assert(is(field::posted_vector, Width::bits16, Area::control, 1));
static_assert(is(field::pml_index, Width::bits16, Area::guest, 9));
static_assert(is(field::host_tr_selector, Width::bits16, Area::host, 6));
static_assert(is(field::enclv_exit_bitmap, Width::bits64, Area::control, 27));
static_assert(is(field::guest_physical, Width::bits64, Area::exit_information, 0));
static_assert(is(field::guest_pkrs, Width::bits64, Area::guest, 12));
static_assert(is(field::host_pkrs, Width::bits64, Area::host, 3));
static_assert(is(field::ple_window, Width::bits32, Area::control, 17));
static_assert(is(field::exit_instruction_info, Width::bits32, Area::exit_information, 7));
static_assert(is(field::preemption_timer, Width::bits32, Area::guest, 23));
static_assert(is(field::host_sysenter_cs, Width::bits32, Area::host, 0));
static_assert(is(field::cr3_target_3, Width::natural, Area::control, 7));
static_assert(is(field::guest_linear, Width::natural, Area::exit_information, 5));
static_assert(is(field::guest_ssp_table, Width::natural, Area::guest, 22));
static_assert(is(field::host_ssp_table, Width::natural, Area::host, 14));
static_assert(field::exit_reason.read_only && !field::entry_interruption.read_only);
} // namespace detail

} // namespace hwv::vmx
