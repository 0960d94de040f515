// SPDX-License-Identifier: GPL-2.0-only
/* Compiled to assembly only: offsets and constants of the kernel for C++ and .S, as gen/hwv_offsets.h (see Kbuild). */
#define COMPILE_OFFSETS
#include <linux/kbuild.h>
#include <linux/tracepoint.h>
#include <linux/version.h>
#include "compat.h"
#include "hwv_run.h"

#define GPR(name) DEFINE(HWV_GPR_##name, HWV_##name * sizeof(__u64)) /* of the array that the world switch fills */

int main(void);
int main(void)
{
	DEFINE(HWV_TP_KEY_OFF, offsetof(struct tracepoint, key));
	DEFINE(HWV_THREAD_WORK, XFER_TO_GUEST_MODE_WORK);
	DEFINE(HWV_KERNEL_VERSION, LINUX_VERSION_CODE);
	DEFINE(HWV_TRACE_IRQFLAGS, IS_ENABLED(CONFIG_TRACE_IRQFLAGS));
	GPR(RAX);
	GPR(RCX);
	GPR(RDX);
	GPR(RBX);
	GPR(RBP);
	GPR(RSI);
	GPR(RDI);
	GPR(R8);
	GPR(R9);
	GPR(R10);
	GPR(R11);
	GPR(R12);
	GPR(R13);
	GPR(R14);
	GPR(R15);
	return 0;
}
