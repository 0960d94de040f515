/* SPDX-License-Identifier: GPL-2.0-only */
/* Host stand-in for what Kbuild generates from kernel headers. */
#pragma once
#define HWV_TP_KEY_OFF 8
#define HWV_THREAD_WORK 0xffffffff
#define HWV_TRACE_IRQFLAGS 1
#define HWV_KERNEL_VERSION 0x060100
