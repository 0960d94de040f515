/* SPDX-License-Identifier: GPL-2.0-only */
/* The part of <linux/types.h> that include/uapi uses, for freestanding C++: kernel headers do not compile as C++. */
#ifndef HWV_SHIM_LINUX_TYPES_H
#define HWV_SHIM_LINUX_TYPES_H

typedef unsigned char __u8;
typedef signed char __s8;
typedef unsigned short __u16;
typedef signed short __s16;
typedef unsigned int __u32;
typedef signed int __s32;
typedef unsigned long long __u64;
typedef signed long long __s64;

#define __aligned_u64 __u64 __attribute__((aligned(8)))
#define __aligned_s64 __s64 __attribute__((aligned(8)))

#endif
