// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events of VMs for those who subscribed: sent from process context. What a running guest gives
 * cause to is only noted there, and told by a work item with how often it was.
 */
#include <linux/cred.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/netlink.h>
#include <linux/notifier.h>
#include <linux/pid.h>
#include <linux/slab.h>
#include <net/genetlink.h>
#include <net/sock.h>
#include "glue.h"

static struct workqueue_struct *queue;

/* ---- who gets them ---- */

/* A socket that gets the events of a user's VMs. It is not held: its end is heard of. */
struct watcher {
	struct list_head list;
	struct net *net;
	u32 portid;
	kuid_t uid;
};

static DEFINE_MUTEX(watchers_lock); /* innermost */
static LIST_HEAD(watchers);

static struct watcher *find_watcher(const struct net *net, u32 portid)
{
	struct watcher *watcher;

	list_for_each_entry(watcher, &watchers, list)
		if (net_eq(watcher->net, net) && watcher->portid == portid)
			return watcher;
	return NULL;
}

/* The socket is in use by the caller, and cannot end meanwhile. */
int hwv_watch(struct sk_buff *skb, struct genl_info *info)
{
	const struct file *opened = NETLINK_CB(skb).sk->sk_socket->file;
	struct watcher *watcher;

	if (!uid_eq(opened->f_cred->euid, current_euid())) {
		NL_SET_ERR_MSG(info->extack, "another user opened this socket");
		return -EPERM;
	}
	watcher = kzalloc(sizeof(*watcher), GFP_KERNEL_ACCOUNT);
	if (!watcher)
		return -ENOMEM;
	watcher->net = genl_info_net(info);
	watcher->portid = info->snd_portid;
	watcher->uid = current_euid();
	mutex_lock(&watchers_lock);
	if (!find_watcher(watcher->net, watcher->portid)) {
		list_add_tail(&watcher->list, &watchers);
		watcher = NULL;
	}
	mutex_unlock(&watchers_lock);
	kfree(watcher);
	return 0;
}

static int socket_event(struct notifier_block *block, unsigned long event, void *argument)
{
	const struct netlink_notify *socket = argument;
	struct watcher *watcher;

	if (event != NETLINK_URELEASE || socket->protocol != NETLINK_GENERIC)
		return NOTIFY_DONE;
	mutex_lock(&watchers_lock);
	watcher = find_watcher(socket->net, socket->portid);
	if (watcher)
		list_del(&watcher->list);
	mutex_unlock(&watchers_lock);
	kfree(watcher);
	return NOTIFY_DONE;
}

static struct notifier_block socket_notifier = { .notifier_call = socket_event };

static void send_to_watchers(const struct hwv_host_vm *vm, struct sk_buff *skb)
{
	struct watcher *watcher;
	struct sk_buff *copy;

	mutex_lock(&watchers_lock);
	list_for_each_entry(watcher, &watchers, list) {
		if (!uid_eq(watcher->uid, vm->cred->euid))
			continue;
		copy = skb_clone(skb, GFP_KERNEL);
		if (copy)
			genlmsg_unicast(watcher->net, copy, watcher->portid);
	}
	mutex_unlock(&watchers_lock);
}

static bool anybody(void)
{
	return !list_empty_careful(&watchers) || genl_has_listeners(&hwv_family, &init_net, 0);
}

/* ---- one event ---- */

static int put_creator(struct sk_buff *skb, const struct hwv_host_vm *vm)
{
	return nla_put_u32(skb, HWV_ATTR_PID, pid_nr(vm->pid)) ?:
	       nla_put_u32(skb, HWV_ATTR_UID, from_kuid_munged(&init_user_ns, vm->cred->euid));
}

static int put_hit(struct sk_buff *skb, const struct hwv_pending_news *hit)
{
	return nla_put_u32(skb, HWV_ATTR_REASON, hit->reason) ?:
	       hwv_u64(skb, HWV_ATTR_KEY, hit->key) ?:
	       hwv_u64(skb, HWV_ATTR_HOLDER, hit->holder) ?:
	       nla_put_u32(skb, HWV_ATTR_RULE_INDEX, hit->rule);
}

static int put_pending(struct sk_buff *skb, u32 event, const struct hwv_pending_news *what)
{
	return nla_put_u32(skb, HWV_ATTR_VCPU, what->vcpu) ?:
	       hwv_u64(skb, HWV_ATTR_COUNT, what->count) ?:
	       (event == HWV_NEWS_RING_OVERFLOW ? 0 : hwv_u64(skb, HWV_ATTR_RIP, what->rip)) ?:
	       (event == HWV_NEWS_POLICY_HIT ? put_hit(skb, what) : 0);
}

static int put_event(struct sk_buff *skb, const struct hwv_host_vm *vm, u32 event)
{
	return nla_put_u32(skb, HWV_ATTR_EVENT, event) ?:
	       hwv_u64(skb, HWV_ATTR_VM, vm->id) ?:
	       nla_put_string(skb, HWV_ATTR_NAME, vm->name) ?:
	       hwv_u64(skb, HWV_ATTR_SEQUENCE, vm->news.sequence) ?:
	       hwv_u64(skb, HWV_ATTR_TIME, ktime_get_ns());
}

/* what: of the events that are noted first; why: of the last one. */
static struct sk_buff *compose(const struct hwv_host_vm *vm, u32 event,
			       const struct hwv_pending_news *what, u32 why)
{
	struct sk_buff *skb = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	void *header;
	int err;

	if (!skb)
		return NULL;
	header = genlmsg_put(skb, 0, 0, &hwv_family, 0, HWV_CMD_EVENT);
	err = header ? put_event(skb, vm, event) : -EMSGSIZE;
	if (!err && event == HWV_NEWS_VM_CREATED)
		err = put_creator(skb, vm);
	if (!err && event == HWV_NEWS_VM_ENDED)
		err = nla_put_u32(skb, HWV_ATTR_WHY, why);
	if (!err && what)
		err = put_pending(skb, event, what);
	if (err) {
		nlmsg_free(skb);
		return NULL;
	}
	genlmsg_end(skb, header);
	return skb;
}

/* Its number is used up, whether it can be sent or not: subscribers see that one is missing. */
static void send(struct hwv_host_vm *vm, u32 event, const struct hwv_pending_news *what, u32 why)
{
	struct sk_buff *skb;

	mutex_lock(&vm->news.lock);
	vm->news.sequence++;
	skb = anybody() ? compose(vm, event, what, why) : NULL;
	if (skb) {
		send_to_watchers(vm, skb);
		genlmsg_multicast(&hwv_family, skb, 0, 0, GFP_KERNEL);
	}
	mutex_unlock(&vm->news.lock);
}

void hwv_news_tell(struct hwv_host_vm *vm, u32 event)
{
	send(vm, event, NULL, 0);
}

/* Before the first vCPU's first entry, and once. */
void hwv_news_started(struct hwv_host_vm *vm)
{
	if (!xchg(&vm->news.started, true))
		send(vm, HWV_NEWS_VM_STARTED, NULL, 0);
}

/* ---- what a running guest gives cause to ---- */

static const u32 event_of[HWV_PENDING] = {
	[HWV_PENDING_FAULT] = HWV_NEWS_TRIPLE_FAULT,
	[HWV_PENDING_HIT] = HWV_NEWS_POLICY_HIT,
	[HWV_PENDING_DROP] = HWV_NEWS_RING_OVERFLOW,
};

static void tell_pending(struct hwv_host_vm *vm)
{
	struct hwv_news *news = &vm->news;
	struct hwv_pending_news what[HWV_PENDING];
	u32 i;

	spin_lock(&news->pending_lock);
	memcpy(what, news->pending, sizeof(what));
	memset(news->pending, 0, sizeof(news->pending));
	news->not_before = jiffies + msecs_to_jiffies(HWV_NETLINK_INTERVAL_MS);
	spin_unlock(&news->pending_lock);
	for (i = 0; i < HWV_PENDING; i++)
		if (what[i].count)
			send(vm, event_of[i], &what[i], 0);
}

static void work(struct work_struct *item)
{
	tell_pending(container_of(to_delayed_work(item), struct hwv_host_vm, news.work));
}

/*
 * On the way into the guest irqs may be off for good: nobody is woken here, a timer does that. The
 * VM outlives the work: hwv_news_end() waits for it.
 */
static void note(struct hwv_host_vm *vm, u32 kind, const struct hwv_pending_news *what)
{
	struct hwv_news *news = &vm->news;
	unsigned long now = jiffies, delay = 1;

	spin_lock(&news->pending_lock);
	if (news->pending[kind].count) {
		news->pending[kind].count += what->count;
	} else {
		news->pending[kind] = *what;
		if (time_after(news->not_before, now))
			delay = news->not_before - now;
		queue_delayed_work(queue, &news->work, delay);
	}
	spin_unlock(&news->pending_lock);
}

void hwv_host_tell_triple_fault(struct hwv_host_vcpu *vcpu, __u32 id, __u64 rip)
{
	struct hwv_pending_news what = { .count = 1, .vcpu = id, .rip = rip };

	note(vcpu->vm, HWV_PENDING_FAULT, &what);
}

void hwv_host_tell_hit(struct hwv_host_vm *vm, const struct hwv_host_hit *hit)
{
	struct hwv_pending_news what = {
		.count = hit->count,
		.vcpu = hit->vcpu,
		.reason = hit->reason,
		.key = hit->key,
		.rip = hit->rip,
		.rule = hit->rule,
	};

	if (hit->holder != READ_ONCE(vm->keeper_age))
		what.holder = hit->holder;
	note(vm, HWV_PENDING_HIT, &what);
}

void hwv_host_tell_drop(struct hwv_host_observer *observer, __u32 vcpu)
{
	struct hwv_pending_news what = { .count = 1, .vcpu = vcpu };

	note(observer->vm, HWV_PENDING_DROP, &what);
}

/* ---- life ---- */

void hwv_news_init(struct hwv_news *news)
{
	mutex_init(&news->lock);
	spin_lock_init(&news->pending_lock);
	news->not_before = jiffies;
	INIT_DELAYED_WORK(&news->work, work);
}

void hwv_news_end(struct hwv_host_vm *vm, u32 why)
{
	cancel_delayed_work_sync(&vm->news.work);
	tell_pending(vm);
	send(vm, HWV_NEWS_VM_ENDED, NULL, why);
}

int hwv_news_module_init(void)
{
	int err;

	queue = alloc_workqueue("hwv-news", WQ_UNBOUND, 0);
	if (!queue)
		return -ENOMEM;
	err = netlink_register_notifier(&socket_notifier);
	if (err)
		destroy_workqueue(queue);
	return err;
}

/* No request is under way any more, and no VM lives. */
void hwv_news_module_exit(void)
{
	struct watcher *watcher, *next;

	netlink_unregister_notifier(&socket_notifier);
	list_for_each_entry_safe(watcher, next, &watchers, list)
		kfree(watcher);
	destroy_workqueue(queue);
}
