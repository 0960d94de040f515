/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_guest.h - what a guest may say to hwv. Part of hwv.h.
 *
 * Hypercalls as KVM's: VMCALL (Intel) or VMMCALL (AMD), number in RAX, arguments in RBX RCX RDX RSI, result in RAX. KVM's own numbers
 * are small; hwv's begin here, so that the same guest gets -KVM_ENOSYS (-1000) from KVM.
 */
#ifndef HWV_GUEST_H
#define HWV_GUEST_H

/*
 * HWV_HYPERCALL_MARK: does nothing but exit, with RBX as data: a mark in the records. Up to eight characters, the first one lowest, zeros after them,
 * are shown as text. From every privilege level. Returns 0.
 */
#define HWV_HYPERCALL_MARK 0x68777600

#endif
