/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * news.h - netlink.c, netlink_stats.c, netlink_rules.c: the family `hwv`; news.c: its events;
 * keeper.c: what netlink asks of a VM for longer than a process lives.
 */
#ifndef HWV_NEWS_H
#define HWV_NEWS_H

#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include "hwv.h"
#include "hwv_netlink.h"

struct genl_info;
struct genl_family;
struct netlink_callback;
struct netlink_ext_ack;
struct nlattr;
struct sk_buff;
struct hwv_host_vm;

/* ---- news.c ---- */

/* What a running guest gives cause to tell, until it is told. */
struct hwv_pending_news {
	u64 count; /* the rest is of the first of them */
	u64 key, rip, holder;
	u32 vcpu, reason, rule;
};

enum { HWV_PENDING_FAULT, HWV_PENDING_HIT, HWV_PENDING_DROP, HWV_PENDING };

struct hwv_news {
	struct mutex lock; /* of the order in which events are sent; inside vm->lock */
	u64 sequence;      /* lock */
	bool started;
	spinlock_t pending_lock; /* with irqs on or off, but no irq takes it */
	struct hwv_pending_news pending[HWV_PENDING];
	unsigned long not_before; /* jiffies: the next telling */
	struct delayed_work work;
};

int hwv_news_module_init(void);
void hwv_news_module_exit(void);
void hwv_news_init(struct hwv_news *news);
void hwv_news_tell(struct hwv_host_vm *vm, u32 event); /* may sleep; not of what is pending */
void hwv_news_started(struct hwv_host_vm *vm);
void hwv_news_end(struct hwv_host_vm *vm, u32 why); /* what is pending, then the last event */
int hwv_watch(struct sk_buff *skb, struct genl_info *info);

/* ---- netlink.c ---- */

int hwv_netlink_init(void);
void hwv_netlink_exit(void);
extern struct genl_family hwv_family;

/* What a dump goes on with. */
struct hwv_dump_at {
	u64 vm;     /* the last one that is done */
	u64 half;   /* the one that vcpu is of */
	u64 holder; /* the last one that is done */
	u32 vcpu, rule; /* the next one */
};

/* The VM that a request names, with a reference of its shell; or an error, with its reason in the extended ack. */
struct hwv_host_vm *hwv_netlink_vm(const struct sk_buff *skb, struct nlattr *id, struct netlink_ext_ack *extack);
bool hwv_netlink_may(const struct sk_buff *skb, const struct hwv_host_vm *vm);
/* One message; compose: into it. -EMSGSIZE: not in this piece of the dump. */
int hwv_dump(struct sk_buff *skb, struct netlink_callback *cb, u8 command,
	     int (*compose)(struct sk_buff *skb, const void *what), const void *what);
int hwv_explain(struct genl_info *info, int err); /* the errors that mean the same in all commands */
int hwv_u64(struct sk_buff *skb, int attribute, u64 value);

/* ---- netlink_stats.c, netlink_rules.c ---- */

int hwv_dump_stats(struct sk_buff *skb, struct netlink_callback *cb);
int hwv_set_rules(struct sk_buff *skb, struct genl_info *info);
int hwv_reset_rules(struct sk_buff *skb, struct genl_info *info);
int hwv_dump_rules(struct sk_buff *skb, struct netlink_callback *cb);

/* ---- keeper.c ---- */

int hwv_keeper_pause(struct hwv_host_vm *vm);
int hwv_keeper_resume(struct hwv_host_vm *vm); /* 1: done, and an observer has it paused too */
int hwv_keeper_pause_vcpu(struct hwv_host_vm *vm, u32 id);
int hwv_keeper_resume_vcpu(struct hwv_host_vm *vm, u32 id); /* 1: done, and the VM is paused */
int hwv_keeper_rules(struct hwv_host_vm *vm, struct hwv_policy *request, const struct hwv_rule *rules);
void hwv_keeper_end(struct hwv_host_vm *vm); /* vm->lock, and ended */

#endif
