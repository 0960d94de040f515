/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * hwv_netlink.h - the generic netlink family `hwv`: which VMs there are, what they do, and simple commands to them, for whoever
 * may, from any process.
 *
 * Who may. A request about a VM is for the user that created it (effective uid), and for CAP_SYS_ADMIN in that user's namespace, as
 * HWV_ATTACH is. Both who opened the socket and who sends must have that right, so that nobody's right is borrowed by handing him a
 * socket. Others get EPERM for a VM that there is, ENOENT for one that there is not; lists leave out what the caller may not ask about.
 *
 * Requests are validated strictly: an attribute that a command does not know, or of another size, is refused with EINVAL, a value that cannot be with
 * ERANGE or EINVAL; where NETLINK_EXT_ACK is set, a sentence says what is wrong and the attribute's offset says where: of a dump in its last
 * message, with the error. A VM that ends meanwhile is ESRCH. Lists are in the order of the ids, each message whole; a VM or vCPU that lives during the whole dump is in it once, and where
 * one came or went meanwhile, messages carry NLM_F_DUMP_INTR.
 */
#ifndef HWV_NETLINK_H
#define HWV_NETLINK_H

#include <linux/types.h>

#define HWV_NETLINK_NAME "hwv"
#define HWV_NETLINK_VERSION 1
#define HWV_NETLINK_EVENTS "events" /* the multicast group */

/* In brackets what a request must have, (what it may have), and after the arrow what comes back. */
enum hwv_netlink_command {
	HWV_CMD_UNSPEC,
	HWV_CMD_VM_GET,       /* [VM] -> VM NAME PID UID VCPUS AGE STATE OBSERVERS; as a dump: all VMs */
	HWV_CMD_VCPU_GET,     /* dump (VM) -> VM VCPU VCPU_STATE MP_STATE, and ENTRIES where exits are counted: of that VM, or of all */
	HWV_CMD_STATS_GET,    /* dump [VM] (VCPU) -> see below. ENODATA: module parameter statistics=off */
	HWV_CMD_POLICY_SET,   /* [VM RULES]: the VM keeps these rules, instead of those that it kept before */
	HWV_CMD_POLICY_GET,   /* dump [VM] -> a message for each rule in force: VM HOLDER RULE_INDEX RULE MATCHED ACTED */
	HWV_CMD_POLICY_RESET, /* [VM]: the rules that the VM keeps go; those of observers stay */
	HWV_CMD_PAUSE,        /* [VM] (VCPU): the VM, or that vCPU alone, stands still until HWV_CMD_RESUME from anybody who may. ETIMEDOUT: below */
	HWV_CMD_RESUME,       /* [VM] (VCPU): undoes that, without VCPU of all. EBUSY: done, but an observer, or one of the whole VM, has it paused too */
	HWV_CMD_KICK,         /* [VM] (VCPU): as HWV_KICK, of all vCPUs or one: HWV_RUN leaves with HWV_EXIT_KICKED */
	HWV_CMD_KILL,         /* [VM]: as HWV_KILL */
	HWV_CMD_REGS_GET,     /* [VM VCPU] (GROUPS) -> VM VCPU REGS. EBUSY: the vCPU runs, or see below */
	HWV_CMD_WATCH,        /* -> events of the sender's own VMs to this socket, see below */
	HWV_CMD_EVENT,        /* only from the kernel */
};

/*
 * No request waits longer than this for a vCPU, which may itself wait for memory that somebody brings when he likes: HWV_CMD_PAUSE is
 * undone then and answers ETIMEDOUT, HWV_CMD_REGS_GET answers EBUSY. Generic netlink serves one request of a family after the other, and
 * no family comes or goes meanwhile. Who would rather wait pauses and reads as an observer.
 */
#define HWV_NETLINK_WAIT_MS 2000

/*
 * What a VM keeps, a pause and rules, it keeps until it is undone or the VM ends: not for a process, as an observer does. It takes
 * one of HWV_MAX_OBSERVERS meanwhile (ENOSPC), and is not in OBSERVERS. Rules are as those of HWV_POLICY_SET, but for HWV_ACTION_STOP, which
 * wants somebody who replies: EOPNOTSUPP. HWV_ACTION_RECORD counts: there is no ring. A refused rule: the offset in the extended acknowledgement
 * is its attribute's, and the cookie is a __u64: rule << 32 | offset in struct hwv_rule.
 */

/*
 * Statistics: one message for each vCPU, of one moment, with the numbers of struct hwv_vcpu_stats (hwv_stats.h): ENTRIES FIRST_TSC LAST_TSC REASON (the
 * exit under way) CYCLES (its own), then a SEGMENT for each kind of time, and an EXIT for each reason that was counted. Histograms and keys are in
 * the page that an observer maps. A vCPU that exits so fast that no moment can be had: EAGAIN.
 */

/*
 * Events. Two ways to get them. The multicast group: all VMs' events; joining it takes CAP_SYS_ADMIN in the user namespace of the initial network
 * namespace, where alone they are sent, because an event tells what somebody's guest does. HWV_CMD_WATCH, for everybody: from then on this socket
 * gets the events of VMs that the sender's user (effective uid, and the socket's opener's) created, until it is closed. Not both, or they come twice.
 *
 * A message is EVENT VM NAME SEQUENCE TIME, and by kind what enum hwv_netlink_event says. SEQUENCE counts a VM's events from 1, without a gap: one that is
 * missing was lost for want of room in the subscriber's socket or of memory. TRIPLE_FAULT, POLICY_HIT and RING_OVERFLOW come from a running guest and may be
 * many: at most one message of a kind in HWV_NETLINK_INTERVAL_MS for each VM, the first after a timer tick. COUNT says how many it stands for, the other attributes are
 * those of the first; nothing is left out: when VM_ENDED comes, the counts add up to all that happened.
 */
enum hwv_netlink_event {
	HWV_NEWS_UNSPEC,
	HWV_NEWS_VM_CREATED,    /* PID UID: of the owner, as the initial namespaces have them */
	HWV_NEWS_VM_STARTED,    /* a vCPU is about to run for the first time */
	HWV_NEWS_VM_PAUSED,     /* the first of those that may has asked for it: at an exit each vCPU stands still */
	HWV_NEWS_VM_RESUMED,    /* nobody has it paused any more */
	HWV_NEWS_VM_KILLED,     /* every HWV_RUN is refused from now on */
	HWV_NEWS_VM_ENDED,      /* WHY. The last event of a VM */
	HWV_NEWS_TRIPLE_FAULT,  /* VCPU RIP COUNT */
	HWV_NEWS_POLICY_HIT,    /* a rule acted: VCPU REASON KEY RIP HOLDER RULE_INDEX COUNT */
	HWV_NEWS_RING_OVERFLOW, /* a record had no room in an observer's ring: VCPU COUNT */
};
#define HWV_NETLINK_INTERVAL_MS 100

/* Why a VM ended. */
enum hwv_netlink_end {
	HWV_END_CLOSED = 0,       /* its last file was closed: by its launcher, or by its launcher's end */
	HWV_END_KILLED = 1,       /* the same, and an observer or HWV_CMD_KILL had killed it */
	HWV_END_TRIPLE_FAULT = 2, /* the same, and a vCPU stood at a triple fault */
};

/* What a vCPU's thread does with it. */
enum hwv_netlink_vcpu_state {
	HWV_VCPU_STATE_USER = 0,    /* not in HWV_RUN: the launcher serves an exit, or has not started */
	HWV_VCPU_STATE_RUN = 1,     /* in HWV_RUN: in the guest, halted, or in the kernel for it */
	HWV_VCPU_STATE_BUSY = 2,    /* another request has it for a moment */
	HWV_VCPU_STATE_STOPPED = 3, /* in HWV_RUN: paused, or stopped by a rule */
};

/* One list for messages and nests. __u64 are aligned by HWV_ATTR_PAD. */
enum hwv_netlink_attribute {
	HWV_ATTR_UNSPEC,
	HWV_ATTR_PAD,
	HWV_ATTR_VM,          /* __u64: hwv_vm_entry.id */
	HWV_ATTR_VCPU,        /* __u32: id */
	HWV_ATTR_GROUPS,      /* __u32: HWV_REGS_*; without it all */
	HWV_ATTR_RULES,       /* nest: 1 to HWV_MAX_RULES of RULE, in order */
	HWV_ATTR_RULE,        /* struct hwv_rule */
	HWV_ATTR_NAME,        /* string, at most HWV_NAME_LEN with its NUL: any bytes of another user's */
	HWV_ATTR_PID,         /* __u32: of the owner, as the receiver's PID namespace has it; 0: not in it */
	HWV_ATTR_UID,         /* __u32: of the owner, as the receiver's user namespace has it */
	HWV_ATTR_VCPUS,       /* __u64: bit per id */
	HWV_ATTR_AGE,         /* __u64: ns */
	HWV_ATTR_STATE,       /* __u32: HWV_VM_STATE_* */
	HWV_ATTR_OBSERVERS,   /* __u32: how many */
	HWV_ATTR_VCPU_STATE,  /* __u32: enum hwv_netlink_vcpu_state */
	HWV_ATTR_MP_STATE,    /* __u32: enum hwv_mp_state */
	HWV_ATTR_ENTRIES,     /* __u64: into the guest, so far */
	HWV_ATTR_FIRST_TSC,   /* __u64: host TSC */
	HWV_ATTR_LAST_TSC,    /* __u64 */
	HWV_ATTR_SEGMENT,     /* nest: SEGMENT_KIND COUNT CYCLES MAX_CYCLES */
	HWV_ATTR_SEGMENT_KIND, /* __u32: enum hwv_segment_kind */
	HWV_ATTR_EXIT,        /* nest: REASON COUNT CYCLES MAX_CYCLES TO_USER */
	HWV_ATTR_REASON,      /* __u32: enum hwv_exit_reason */
	HWV_ATTR_COUNT,       /* __u64 */
	HWV_ATTR_CYCLES,      /* __u64: of the host's TSC */
	HWV_ATTR_MAX_CYCLES,  /* __u64 */
	HWV_ATTR_TO_USER,     /* __u64: of COUNT, how many left to user */
	HWV_ATTR_HOLDER,      /* __u64: whose rule: 0 the VM keeps it; else a number of that observer's */
	HWV_ATTR_RULE_INDEX,  /* __u32: in the holder's policy, from 0 */
	HWV_ATTR_MATCHED,     /* __u64: see struct hwv_rule_counts */
	HWV_ATTR_ACTED,       /* __u64 */
	HWV_ATTR_REGS,        /* struct hwv_regs, of this or a later kernel's size; valid: the groups that were asked for */
	HWV_ATTR_EVENT,       /* __u32: enum hwv_netlink_event */
	HWV_ATTR_SEQUENCE,    /* __u64 */
	HWV_ATTR_TIME,        /* __u64: ns, CLOCK_MONOTONIC */
	HWV_ATTR_WHY,         /* __u32: enum hwv_netlink_end */
	HWV_ATTR_KEY,         /* __u64: see enum hwv_exit_reason */
	HWV_ATTR_RIP,         /* __u64 */
	HWV_ATTR_END,         /* how many; no attribute */
};

#endif
