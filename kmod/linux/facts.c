// SPDX-License-Identifier: GPL-2.0-only
/*
 * Door 1, what does not change after load: the host's CPU as the kernel sees it.
 */
#include <linux/cpu.h>
#include <linux/jump_label.h>
#include <linux/mem_encrypt.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/moduleparam.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <asm/fpu/xcr.h>
#include <asm/processor.h>
#include "compat.h"
#include "glue.h"

/*
 * State components that guests may switch on: those whose host state the kernel swaps with the
 * guest's FPU. PKRU is not one.
 */
#define HWV_XCR0_OFFERED                                                                           \
	(XFEATURE_MASK_FP | XFEATURE_MASK_SSE | XFEATURE_MASK_YMM | XFEATURE_MASK_AVX512)
#define HWV_XSAVE_LEGACY (512 + 64) /* FXSAVE area and header */

static bool cpu_timer = true;
module_param(cpu_timer, bool, 0444);
MODULE_PARM_DESC(cpu_timer, "let the CPU count for a guest's APIC timer (VMX preemption timer)");

static bool apicv = true;
module_param(apicv, bool, 0444);
MODULE_PARM_DESC(apicv, "let the CPU work on a guest's local APIC (VMX, as kvm_intel.enable_apicv)");

DEFINE_STATIC_KEY_FALSE(hwv_statistics_off); /* of core/count.hpp */
static bool statistics = true;
module_param(statistics, bool, 0444);
MODULE_PARM_DESC(statistics, "count and time every exit");

static struct hwv_host_facts facts;

const struct hwv_host_facts *hwv_host_facts(void)
{
	return &facts;
}

/*
 * As kvm.nx_huge_pages: auto, on (force) or off; it reads as Y or N, what holds. Only before the
 * first guest, because what is mapped stays.
 */
static enum { HWV_NX_AUTO, HWV_NX_OFF, HWV_NX_ON } nx_choice;

static int nx_set(const char *text, const struct kernel_param *parameter)
{
	bool on;

	if (sysfs_streq(text, "auto"))
		nx_choice = HWV_NX_AUTO;
	else if (sysfs_streq(text, "force"))
		nx_choice = HWV_NX_ON;
	else if (kstrtobool(text, &on) == 0)
		nx_choice = on ? HWV_NX_ON : HWV_NX_OFF;
	else
		return -EINVAL;
	return 0;
}

static int nx_get(char *buffer, const struct kernel_param *parameter)
{
	return sysfs_emit(buffer, "%c\n", facts.nx_huge_pages ? 'Y' : 'N');
}

static const struct kernel_param_ops nx_ops = { .set = nx_set, .get = nx_get };
module_param_cb(nx_huge_pages, &nx_ops, NULL, 0444);
MODULE_PARM_DESC(nx_huge_pages,
		 "guests' large pages are not executable: auto (where the CPU needs it), force, off");

static bool wants_nx_huge_pages(void)
{
	if (nx_choice != HWV_NX_AUTO)
		return nx_choice == HWV_NX_ON;
	return boot_cpu_has_bug(X86_BUG_ITLB_MULTIHIT) && !cpu_mitigations_off();
}

/*
 * Intel SDM, "CPUID: Processor Extended State Enumeration": leaf 0DH, sub-leaf n: size in EAX,
 * offset in EBX.
 */
static u32 xsave_bytes(u64 xcr0)
{
	u32 bytes = HWV_XSAVE_LEGACY, size, offset, ecx, edx;
	unsigned int component;

	for (component = 2; component < 63; component++) {
		if (!(xcr0 & BIT_ULL(component)))
			continue;
		cpuid_count(0xd, component, &size, &offset, &ecx, &edx);
		bytes = max(bytes, offset + size);
	}
	return bytes;
}

void hwv_facts_init(void)
{
	facts.sme_mask = sme_me_mask;
	facts.phys_bits = boot_cpu_data.x86_phys_bits;
	facts.direct_map = PAGE_OFFSET;
	facts.cpu_timer = cpu_timer;
	facts.apicv = apicv;
	facts.posted_vector = hwv_posted_vector();
	facts.statistics = statistics;
	if (!statistics)
		static_branch_enable(&hwv_statistics_off);
	facts.paging_levels = pgtable_l5_enabled() ? 5 : 4;
	facts.nx_huge_pages = wants_nx_huge_pages();
	hwv_speculation_facts(&facts);
	if (boot_cpu_has(X86_FEATURE_OSXSAVE)) {
		facts.xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
		facts.xcr0_guest = facts.xcr0 & HWV_XCR0_OFFERED;
	}
	facts.xsave_bytes = xsave_bytes(facts.xcr0_guest);
}
