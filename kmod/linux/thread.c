// SPDX-License-Identifier: GPL-2.0-only
/* Door 1, the vCPU's thread: pending work, waiting and waking, the timer. */
#include <linux/moduleparam.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include "compat.h"
#include "glue.h"

/* A timer that its own callback arms again must leave the CPU time for something else. */
#define HWV_TIMER_FLOOR_NS 20000
#define HWV_POLL_FIRST_NS 10000

static unsigned int halt_poll = 50000;
module_param_named(halt_poll_ns, halt_poll, uint, 0644);
MODULE_PARM_DESC(halt_poll_ns, "longest time (ns) that a halted vCPU spins before it sleeps");

int hwv_host_handle_work(void)
{
	return hwv_xfer_handle_work();
}

/* ---- waiting ---- */

/*
 * True: the wait is over. Spins only where nobody else wants the CPU: who was displaced by this thread
 * waits for it without asking for a switch.
 */
static bool poll(struct hwv_host_vcpu *vcpu)
{
	u64 end;

	if (!vcpu->poll_ns || !single_task_running())
		return false;
	end = ktime_get_ns() + vcpu->poll_ns;
	do {
		if (hwv_core_vcpu_runnable(vcpu->core))
			return true;
		cpu_relax();
	} while (!need_resched() && single_task_running() && !signal_pending(current) &&
		 ktime_get_ns() < end);
	return false;
}

/*
 * Spinning pays where waits are short: twice as long after a wait that it would have caught, not at
 * all after a long one.
 */
static void adapt(struct hwv_host_vcpu *vcpu, u64 waited)
{
	u32 most = READ_ONCE(halt_poll);

	if (waited > most)
		vcpu->poll_ns = 0;
	else
		vcpu->poll_ns = min(most, max_t(u32, 2 * vcpu->poll_ns, HWV_POLL_FIRST_NS));
}

static int sleep_until_runnable(struct hwv_host_vcpu *vcpu)
{
	int err = 0;

	prepare_to_rcuwait(&vcpu->wait);
	for (;;) {
		/*
		 * The barrier in it pairs with rcuwait_wake_up(): no wake-up between the question
		 * and sleep is lost.
		 */
		set_current_state(TASK_INTERRUPTIBLE);
		if (hwv_core_vcpu_runnable(vcpu->core))
			break;
		if (signal_pending(current)) {
			err = -EINTR;
			break;
		}
		schedule();
	}
	finish_rcuwait(&vcpu->wait);
	return err;
}

int hwv_host_vcpu_block(struct hwv_host_vcpu *vcpu)
{
	u64 start = ktime_get_ns();
	int err;

	if (poll(vcpu))
		return 0;
	/*
	 * Task work of others looks like a signal, too: it is served here, and the wait goes on. So is
	 * what the way back to a CPU has left to do: an entry that finds it has begun in vain.
	 */
	do {
		err = sleep_until_runnable(vcpu);
		if (!err && !__xfer_to_guest_mode_work_pending())
			break;
		err = hwv_host_handle_work();
	} while (!err && !hwv_core_vcpu_runnable(vcpu->core));
	adapt(vcpu, ktime_get_ns() - start);
	return err;
}

/* ---- pausing: observers may borrow the vCPU meanwhile ---- */

static bool pause_ends(struct hwv_host_vcpu *vcpu)
{
	return !hwv_vcpu_stands(vcpu) || hwv_core_vcpu_asked(vcpu->core);
}

static void take_back(struct hwv_host_vcpu *vcpu)
{
	while (atomic_cmpxchg_acquire(&vcpu->user, HWV_VCPU_PAUSED, HWV_VCPU_RUNNING) !=
	       HWV_VCPU_PAUSED) {
		mutex_lock(&vcpu->lock); /* the borrower's */
		mutex_unlock(&vcpu->lock);
	}
}

int hwv_host_vcpu_pause(struct hwv_host_vcpu *vcpu)
{
	int err;

	hwv_vcpu_unload(vcpu);
	atomic_set_release(&vcpu->user, HWV_VCPU_PAUSED);
	do {
		err = rcuwait_wait_event(&vcpu->wait, pause_ends(vcpu), TASK_INTERRUPTIBLE);
		if (err)
			err = hwv_host_handle_work();
	} while (!err && !pause_ends(vcpu));
	take_back(vcpu);
	hwv_vcpu_load(vcpu);
	return err ? err : hwv_vcpu_stands(vcpu);
}

/* A signal ends the stop, but for what only looks like one. */
static void wait_for_reply(struct hwv_host_vcpu *vcpu, long left)
{
	int err = 0;

	while (!err && left && !hwv_core_vcpu_stop_ends(vcpu->core)) {
		prepare_to_rcuwait(&vcpu->wait);
		set_current_state(TASK_INTERRUPTIBLE);
		if (!hwv_core_vcpu_stop_ends(vcpu->core) && !signal_pending(current))
			left = schedule_timeout(left);
		__set_current_state(TASK_RUNNING);
		finish_rcuwait(&vcpu->wait);
		if (signal_pending(current))
			err = hwv_host_handle_work();
	}
}

void hwv_host_vcpu_stop(struct hwv_host_vcpu *vcpu, __u64 age, __u32 timeout_ms)
{
	hwv_vcpu_unload(vcpu);
	atomic_set_release(&vcpu->user, HWV_VCPU_PAUSED);
	if (hwv_tell_of_stop(vcpu->vm, age))
		wait_for_reply(vcpu, msecs_to_jiffies(timeout_ms));
	take_back(vcpu);
	hwv_vcpu_load(vcpu);
}

/* A thread that is read here has not exited: it comes back to the vCPU, and takes this back, first. */
int hwv_host_vcpu_yield_to(struct hwv_host_vcpu *vcpu)
{
	struct task_struct *task;
	int result;

	rcu_read_lock();
	task = READ_ONCE(vcpu->displaced);
	if (task)
		get_task_struct(task);
	rcu_read_unlock();
	if (!task)
		return 0;
	result = yield_to(task, true);
	put_task_struct(task);
	return result > 0;
}

void hwv_host_vcpu_wake(struct hwv_host_vcpu *vcpu)
{
	rcuwait_wake_up(&vcpu->wait);
}

/* ---- timer ---- */

static enum hrtimer_restart expired(struct hrtimer *timer)
{
	struct hwv_host_vcpu *vcpu = container_of(timer, struct hwv_host_vcpu, timer);

	hwv_core_vcpu_timer(vcpu->core);
	return HRTIMER_NORESTART;
}

void hwv_host_timer_start(struct hwv_host_vcpu *vcpu, __u64 ns)
{
	if (hrtimer_callback_running(&vcpu->timer))
		ns = max_t(u64, ns, HWV_TIMER_FLOOR_NS);
	ns = min_t(u64, ns, KTIME_MAX);
	hrtimer_start(&vcpu->timer, ns_to_ktime(ns), HRTIMER_MODE_REL_HARD);
}

void hwv_host_timer_cancel(struct hwv_host_vcpu *vcpu)
{
	hrtimer_cancel(&vcpu->timer);
}

void hwv_thread_init(struct hwv_host_vcpu *vcpu)
{
	rcuwait_init(&vcpu->wait);
	hwv_hrtimer_setup(&vcpu->timer, expired);
}
