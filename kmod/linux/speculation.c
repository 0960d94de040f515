// SPDX-License-Identifier: GPL-2.0-only
/*
 * Door 1, against speculation: the mitigations that the kernel chose for the host, and what it
 * knows of the CPU for guests, which choose theirs by it.
 */
#include <linux/bits.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>
#include <asm/processor.h>
#include <asm/spec-ctrl.h>
#include "compat.h"
#include "glue.h"

/*
 * Of the CPU's own bits, those that say what it or its microcode takes care of. TSX_CTRL is not
 * one: guests have no such MSR.
 */
#define HWV_ARCH_CAP_PASSED                                                                        \
	(ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_RSBA | ARCH_CAP_SKIP_VMENTRY_L1DFLUSH |   \
	 ARCH_CAP_SSB_NO | ARCH_CAP_MDS_NO | ARCH_CAP_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO |           \
	 ARCH_CAP_SBDR_SSDP_NO | ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO | ARCH_CAP_FB_CLEAR |        \
	 ARCH_CAP_RRSBA | ARCH_CAP_PBRSB_NO | ARCH_CAP_GDS_NO | ARCH_CAP_RFDS_NO |                 \
	 ARCH_CAP_RFDS_CLEAR | ARCH_CAP_BHI_NO | ARCH_CAP_ITS_NO)

#define HWV_EXT8_EBX_SSB_NO BIT(26)
#define HWV_EXT21_EAX_VERW_CLEAR BIT(5)
#define HWV_EXT21_EAX_SRSO_NO BIT(29)
#define HWV_EXT21_ECX_TSA_SQ_NO BIT(1)
#define HWV_EXT21_ECX_TSA_L1_NO BIT(2)

static bool wants_l1d_flush(void)
{
	u64 capabilities = 0;

	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
		capabilities = native_read_msr(MSR_IA32_ARCH_CAPABILITIES);
	return boot_cpu_has_bug(X86_BUG_L1TF) && !(capabilities & ARCH_CAP_SKIP_VMENTRY_L1DFLUSH);
}

/*
 * SSBD of AMD CPUs that have it in LS_CFG, or in VIRT_SPEC_CTRL of a hypervisor below. KVM shows
 * guests VIRT_SSBD also beside the bit of SPEC_CTRL, where it has no effect.
 */
static bool offers_virt_ssbd(void)
{
	return __is_defined(HWV_HAVE_X86_VIRT_SPEC_CTRL) && !boot_cpu_has(X86_FEATURE_AMD_SSBD) &&
	       (boot_cpu_has(X86_FEATURE_LS_CFG_SSBD) || boot_cpu_has(X86_FEATURE_VIRT_SSBD));
}

static u32 chosen(void)
{
	u32 flags = 0;

	if (hwv_wants_ibpb())
		flags |= HWV_SPEC_IBPB;
	if (boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL))
		flags |= HWV_SPEC_CTRL;
	if (boot_cpu_has(X86_FEATURE_V_SPEC_CTRL))
		flags |= HWV_SPEC_VIRT_SPEC_CTRL;
	if (boot_cpu_has(X86_FEATURE_SSBD))
		flags |= HWV_SPEC_SSBD;
	if (boot_cpu_has(X86_FEATURE_STIBP))
		flags |= HWV_SPEC_STIBP;
	if (wants_l1d_flush())
		flags |= HWV_SPEC_L1D_FLUSH;
	if (hwv_wants_ibpb_on_exit())
		flags |= HWV_SPEC_IBPB_ON_EXIT;
	if (offers_virt_ssbd())
		flags |= HWV_SPEC_VIRT_SSBD;
	return flags;
}

static u64 not_affected(u64 bit, unsigned int bug)
{
	return boot_cpu_has_bug(bug) ? 0 : bit;
}

/*
 * As KVM's. A guest is never at the mercy of iTLB multihit, for its large pages are the host's
 * affair; nor does it run guests of its own, before which it would have to flush the data cache.
 */
static u64 arch_capabilities(void)
{
	u64 bits = 0;

	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
		bits = native_read_msr(MSR_IA32_ARCH_CAPABILITIES) & HWV_ARCH_CAP_PASSED;
	bits |= ARCH_CAP_PSCHANGE_MC_NO;
	if (hwv_l1d_mode() != HWV_L1D_NEVER || !wants_l1d_flush())
		bits |= ARCH_CAP_SKIP_VMENTRY_L1DFLUSH;
	bits |= not_affected(ARCH_CAP_RDCL_NO, X86_BUG_CPU_MELTDOWN) |
		not_affected(ARCH_CAP_SSB_NO, X86_BUG_SPEC_STORE_BYPASS) |
		not_affected(ARCH_CAP_MDS_NO, X86_BUG_MDS) |
		not_affected(ARCH_CAP_RFDS_NO, X86_BUG_RFDS) |
		not_affected(ARCH_CAP_ITS_NO, X86_BUG_ITS);
	/* Without TSX a guest knows that there is no TAA. */
	bits &= ~ARCH_CAP_TAA_NO;
	if (boot_cpu_has(X86_FEATURE_RTM))
		bits |= not_affected(ARCH_CAP_TAA_NO, X86_BUG_TAA);
	if (!boot_cpu_has_bug(X86_BUG_GDS) || gds_ucode_mitigated())
		bits |= ARCH_CAP_GDS_NO;
	return bits;
}

void hwv_speculation_facts(struct hwv_host_facts *facts)
{
	facts->speculation = chosen();
	if (boot_cpu_has(X86_FEATURE_MSR_SPEC_CTRL))
		facts->spec_ctrl = hwv_spec_ctrl_base();
	facts->arch_capabilities = arch_capabilities();
	if (!boot_cpu_has_bug(X86_BUG_SPEC_STORE_BYPASS))
		facts->cpuid_ext8_ebx |= HWV_EXT8_EBX_SSB_NO;
	if (boot_cpu_has(X86_FEATURE_VERW_CLEAR))
		facts->cpuid_ext21_eax |= HWV_EXT21_EAX_VERW_CLEAR;
	if (boot_cpu_has(X86_FEATURE_SRSO_NO))
		facts->cpuid_ext21_eax |= HWV_EXT21_EAX_SRSO_NO;
	if (boot_cpu_has(X86_FEATURE_TSA_SQ_NO))
		facts->cpuid_ext21_ecx |= HWV_EXT21_ECX_TSA_SQ_NO;
	if (boot_cpu_has(X86_FEATURE_TSA_L1_NO))
		facts->cpuid_ext21_ecx |= HWV_EXT21_ECX_TSA_L1_NO;
}

/* The kernel's own per-CPU mark, which interrupts set; others of the core's are in `stale`. */
int hwv_host_l1d_flush(int stale)
{
	const enum hwv_l1d_mode mode = hwv_l1d_mode();

	stale |= kvm_get_cpu_l1tf_flush_l1d();
	kvm_clear_cpu_l1tf_flush_l1d();
	return mode == HWV_L1D_ALWAYS || (mode == HWV_L1D_STALE && stale);
}

void hwv_host_virt_spec_ctrl(__u64 guest, int to_guest)
{
	hwv_virt_spec_ctrl(guest, to_guest);
}
