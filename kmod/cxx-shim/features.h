/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Stands in for glibc's <features.h>, the only libc header that libstdc++'s freestanding part asks for
 * (bits/os_defines.h): nothing in the module may come from the host's libc.
 */
#ifndef _FEATURES_H
#define _FEATURES_H 1
#define __GLIBC_PREREQ(maj, min) 0
#endif
