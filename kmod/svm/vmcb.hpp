// SPDX-License-Identifier: GPL-2.0-only
// vmcb.hpp - the virtual machine control block. AMD APM vol. 2, appendix "Layout of VMCB".
#pragma once
#include <cstddef>
#include <cstdint>
#include "svm/exit_code.hpp"

namespace hwv::svm {

// Groups of fields that the CPU may keep from one VMRUN to the next; APM "VMCB Clean Bits".
namespace clean {
inline constexpr std::uint32_t intercepts = 1u << 0, // also TSC offset, pause filter
    maps = 1u << 1, asid = 1u << 2, int_ctl = 1u << 3, np = 1u << 4, // nCR3, G_PAT
    cr = 1u << 5, dr = 1u << 6,                                      // cr: also EFER
    dt = 1u << 7, segments = 1u << 8, cr2 = 1u << 9, lbr = 1u << 10, all = 0x7ff;
}

namespace int_ctl {
inline constexpr std::uint64_t v_tpr = 0xf, v_irq = 1u << 8, v_nmi_pending = 1u << 11,
                               v_nmi_mask = 1u << 12, v_prio_shift = 16,
                               v_prio = 0xfu << v_prio_shift, v_ign_tpr = 1u << 20,
                               v_intr_masking = 1u << 24, v_nmi_enable = 1u << 26;
}

namespace int_state {
inline constexpr std::uint64_t shadow = 1u << 0;
}

enum class TlbControl : std::uint8_t { keep = 0, flush_all = 1, flush_asid = 3 };

// EVENTINJ and EXITINTINFO; APM "Event Injection".
namespace event {
inline constexpr std::uint64_t vector = 0xff, type_shift = 8, type = 7u << type_shift,
                               has_error_code = 1u << 11, valid = 1u << 31, error_code_shift = 32;
enum Type : std::uint8_t { interrupt = 0, nmi = 2, exception = 3, software = 4 };
} // namespace event

namespace nested_ctl {
inline constexpr std::uint64_t enable = 1u << 0;
}

struct ControlArea {
    Intercepts intercepts;
    std::uint8_t reserved_018[0x24];
    std::uint16_t pause_threshold;
    std::uint16_t pause_count;
    std::uint64_t io_map;
    std::uint64_t msr_map;
    std::uint64_t tsc_offset;
    std::uint32_t asid;
    TlbControl tlb_control;
    std::uint8_t reserved_05d[3];
    std::uint64_t int_ctl;
    std::uint64_t int_state;
    std::uint64_t exit_code;
    std::uint64_t exit_info1;
    std::uint64_t exit_info2;
    std::uint64_t exit_int_info;
    std::uint64_t nested_ctl;
    std::uint64_t avic_bar;
    std::uint64_t ghcb;
    std::uint64_t event_inj;
    std::uint64_t nested_cr3;
    std::uint64_t virt_ext;
    std::uint32_t clean;
    std::uint32_t reserved_0c4;
    std::uint64_t next_rip;
    std::uint8_t insn_count; // DecodeAssists: how many of insn are valid
    std::uint8_t insn[15];
    std::uint8_t reserved_0e0[0x320];
};

struct VmcbSegment {
    std::uint16_t selector;
    std::uint16_t attributes; // as hwv_segment: type, S, DPL, P, AVL, L, D/B, G
    std::uint32_t limit;
    std::uint64_t base;
};

struct SaveArea {
    VmcbSegment es, cs, ss, ds, fs, gs, gdtr, ldtr, idtr, tr;
    std::uint8_t reserved_0a0[0x2b];
    std::uint8_t cpl;
    std::uint32_t reserved_0cc;
    std::uint64_t efer;
    std::uint8_t reserved_0d8[0x70];
    std::uint64_t cr4;
    std::uint64_t cr3;
    std::uint64_t cr0;
    std::uint64_t dr7;
    std::uint64_t dr6;
    std::uint64_t rflags;
    std::uint64_t rip;
    std::uint8_t reserved_180[0x58];
    std::uint64_t rsp;
    std::uint64_t s_cet;
    std::uint64_t ssp;
    std::uint64_t isst;
    std::uint64_t rax;
    std::uint64_t star;
    std::uint64_t lstar;
    std::uint64_t cstar;
    std::uint64_t sfmask;
    std::uint64_t kernel_gs_base;
    std::uint64_t sysenter_cs;
    std::uint64_t sysenter_esp;
    std::uint64_t sysenter_eip;
    std::uint64_t cr2;
    std::uint8_t reserved_248[0x20];
    std::uint64_t g_pat;
    std::uint64_t debug_ctl;
    std::uint8_t reserved_278[0x68];
    std::uint64_t spec_ctrl;
    std::uint8_t reserved_2e8[0x918];
};

struct alignas(4096) Vmcb {
    ControlArea control;
    SaveArea save;
};

static_assert(sizeof(ControlArea) == 0x400 && sizeof(Vmcb) == 0x1000);
static_assert(sizeof(VmcbSegment) == 16);

#define HWV_AT(area, field, offset) static_assert(offsetof(area, field) == (offset))
HWV_AT(ControlArea, intercepts, 0x000);
HWV_AT(ControlArea, pause_threshold, 0x03c);
HWV_AT(ControlArea, pause_count, 0x03e);
HWV_AT(ControlArea, io_map, 0x040);
HWV_AT(ControlArea, msr_map, 0x048);
HWV_AT(ControlArea, tsc_offset, 0x050);
HWV_AT(ControlArea, asid, 0x058);
HWV_AT(ControlArea, tlb_control, 0x05c);
HWV_AT(ControlArea, int_ctl, 0x060);
HWV_AT(ControlArea, int_state, 0x068);
HWV_AT(ControlArea, exit_code, 0x070);
HWV_AT(ControlArea, exit_info1, 0x078);
HWV_AT(ControlArea, exit_info2, 0x080);
HWV_AT(ControlArea, exit_int_info, 0x088);
HWV_AT(ControlArea, nested_ctl, 0x090);
HWV_AT(ControlArea, avic_bar, 0x098);
HWV_AT(ControlArea, ghcb, 0x0a0);
HWV_AT(ControlArea, event_inj, 0x0a8);
HWV_AT(ControlArea, nested_cr3, 0x0b0);
HWV_AT(ControlArea, virt_ext, 0x0b8);
HWV_AT(ControlArea, clean, 0x0c0);
HWV_AT(ControlArea, next_rip, 0x0c8);
HWV_AT(ControlArea, insn_count, 0x0d0);
HWV_AT(ControlArea, insn, 0x0d1);
HWV_AT(SaveArea, es, 0x000);
HWV_AT(SaveArea, cs, 0x010);
HWV_AT(SaveArea, ss, 0x020);
HWV_AT(SaveArea, ds, 0x030);
HWV_AT(SaveArea, fs, 0x040);
HWV_AT(SaveArea, gs, 0x050);
HWV_AT(SaveArea, gdtr, 0x060);
HWV_AT(SaveArea, ldtr, 0x070);
HWV_AT(SaveArea, idtr, 0x080);
HWV_AT(SaveArea, tr, 0x090);
HWV_AT(SaveArea, cpl, 0x0cb);
HWV_AT(SaveArea, efer, 0x0d0);
HWV_AT(SaveArea, cr4, 0x148);
HWV_AT(SaveArea, cr3, 0x150);
HWV_AT(SaveArea, cr0, 0x158);
HWV_AT(SaveArea, dr7, 0x160);
HWV_AT(SaveArea, dr6, 0x168);
HWV_AT(SaveArea, rflags, 0x170);
HWV_AT(SaveArea, rip, 0x178);
HWV_AT(SaveArea, rsp, 0x1d8);
HWV_AT(SaveArea, s_cet, 0x1e0);
HWV_AT(SaveArea, rax, 0x1f8);
HWV_AT(SaveArea, star, 0x200);
HWV_AT(SaveArea, lstar, 0x208);
HWV_AT(SaveArea, cstar, 0x210);
HWV_AT(SaveArea, sfmask, 0x218);
HWV_AT(SaveArea, kernel_gs_base, 0x220);
HWV_AT(SaveArea, sysenter_cs, 0x228);
HWV_AT(SaveArea, sysenter_esp, 0x230);
HWV_AT(SaveArea, sysenter_eip, 0x238);
HWV_AT(SaveArea, cr2, 0x240);
HWV_AT(SaveArea, g_pat, 0x268);
HWV_AT(SaveArea, debug_ctl, 0x270);
HWV_AT(SaveArea, spec_ctrl, 0x2e0);
#undef HWV_AT

} // namespace hwv::svm
