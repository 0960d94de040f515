/* SPDX-License-Identifier: GPL-2.0-only */
/* Host stand-in for what Kbuild generates from kernel headers: no side tables, so a fault is a crash of the test and no
 * static branch is ever taken. */
#pragma once
#define HWV_EXTABLE_1B_FAULT ""
#define HWV_STATIC_BRANCH_ASM ""
#define HWV_STATIC_BRANCH_BIAS 0
