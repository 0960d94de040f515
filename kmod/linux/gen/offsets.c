// SPDX-License-Identifier: GPL-2.0-only
/* Compiled to assembly only: offsets and constants of the kernel for C++ and .S, as gen/hwv_offsets.h (see Kbuild). */
#define COMPILE_OFFSETS
#include <linux/kbuild.h>
#include <linux/tracepoint.h>
#include <linux/version.h>

int main(void);
int main(void)
{
	DEFINE(HWV_TP_KEY_OFF, offsetof(struct tracepoint, key));
	DEFINE(HWV_KERNEL_VERSION, LINUX_VERSION_CODE);
	return 0;
}
