// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exit programs: eBPF that a VM's observers attached. The core runs them from a table that is
 * replaced as a whole, under RCU.
 */
#include <linux/bpf.h>
#include <linux/err.h>
#include <linux/filter.h>
#include <linux/rcupdate.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include "compat.h"
#include "glue.h"

struct hwv_host_program {
	struct bpf_prog *prog;
	struct hwv_program_counts *counts;
	struct hwv_host_observer *observer;
	u64 id;
};

/*
 * The vCPU's thread, preemption off. A helper may ask for the context of the run: without one it
 * would find the one of whoever runs around it.
 */
void hwv_host_program_run(struct hwv_host_program *program, struct hwv_program_context *context)
{
	u64 arguments[1] = { (u64)(unsigned long)context };
	struct bpf_trace_run_ctx run = {};
	struct bpf_run_ctx *before = bpf_set_run_ctx(&run.run_ctx);

	context->vm = program->observer->vm->id;
	bpf_prog_run(program->prog, arguments);
	bpf_reset_run_ctx(before);
}

/* ---- which programs may ---- */

static bool has_program_map(struct bpf_prog *prog)
{
	bool found = false;
	u32 i;

	mutex_lock(&prog->aux->used_maps_mutex);
	for (i = 0; i < prog->aux->used_map_cnt; i++)
		found |= prog->aux->used_maps[i]->map_type == BPF_MAP_TYPE_PROG_ARRAY;
	mutex_unlock(&prog->aux->used_maps_mutex);
	return found;
}

static enum hwv_program_refusal judge(struct bpf_prog *prog)
{
	if (hwv_bpf_sleepable(prog))
		return HWV_PROGRAM_SLEEPABLE;
	if (prog->aux->max_ctx_offset > sizeof(u64) ||
	    prog->aux->max_tp_access > sizeof(struct hwv_program_context))
		return HWV_PROGRAM_CONTEXT;
	return has_program_map(prog) ? HWV_PROGRAM_TAIL_CALLS : HWV_PROGRAM_OK;
}

static struct bpf_prog *get_program(struct hwv_program_attach *request)
{
	struct bpf_prog *prog = bpf_prog_get_type_dev(
		request->fd, BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE, false);

	if (IS_ERR(prog)) {
		if (PTR_ERR(prog) == -EINVAL)
			request->refused = HWV_PROGRAM_TYPE;
		return prog;
	}
	request->refused = judge(prog);
	if (!request->refused)
		return prog;
	bpf_prog_put(prog);
	return ERR_PTR(-EINVAL);
}

/* ---- the table. All with vm->lock ---- */

static void program_free(struct hwv_host_program *program, bool counts)
{
	if (!program)
		return;
	bpf_prog_put(program->prog);
	if (counts)
		kfree(program->counts);
	kfree(program);
}

/* A copy to be changed. */
static struct hwv_program_table *copy_table(const struct hwv_host_vm *vm, gfp_t flags)
{
	struct hwv_program_table *table = kzalloc(sizeof(*table), flags);

	if (table && vm->programs)
		*table = *vm->programs;
	return table;
}

static u32 find_program(const struct hwv_program_table *table, u64 id)
{
	u32 i;

	for (i = 0; i < table->count; i++)
		if (table->entries[i].program->id == id)
			break;
	return i;
}

/* Takes `table` over. When it returns, no vCPU uses the former one. */
static void publish(struct hwv_host_vm *vm, struct hwv_program_table *table)
{
	struct hwv_program_table *old = vm->programs;

	if (!table->count) {
		kfree(table);
		table = NULL;
	}
	vm->programs = table;
	if (!vm->ended)
		hwv_core_vm_set_programs(vm->core, table);
	synchronize_rcu();
	kfree(old);
}

/* ---- requests ---- */

static int insert(struct hwv_host_observer *observer, struct hwv_host_program *program,
		  struct hwv_program_attach *request)
{
	struct hwv_host_vm *vm = observer->vm;
	struct hwv_program_table *table = copy_table(vm, GFP_KERNEL_ACCOUNT);

	if (!table)
		return -ENOMEM;
	if (table->count == HWV_MAX_PROGRAMS) {
		request->refused = HWV_PROGRAM_ROOM;
		kfree(table);
		return -ENOSPC;
	}
	program->counts = kzalloc(sizeof(*program->counts), GFP_KERNEL_ACCOUNT);
	if (!program->counts) {
		kfree(table);
		return -ENOMEM;
	}
	program->id = request->id = ++vm->programs_ever;
	table->entries[table->count++] = (struct hwv_program_slot){
		.program = program,
		.counts = program->counts,
		.reasons = request->reasons,
		.age = observer->age,
		.observer = observer->slot,
	};
	publish(vm, table);
	return 0;
}

static int replace(struct hwv_host_observer *observer, struct hwv_host_program *program,
		   const struct hwv_program_attach *request)
{
	struct hwv_program_table *table = copy_table(observer->vm, GFP_KERNEL_ACCOUNT);
	struct hwv_host_program *old;
	u32 i;

	if (!table)
		return -ENOMEM;
	i = find_program(table, request->id);
	if (i == table->count) {
		kfree(table);
		return -ENOENT;
	}
	old = table->entries[i].program;
	program->counts = old->counts;
	program->id = old->id;
	table->entries[i].program = program;
	table->entries[i].reasons = request->reasons;
	table->entries[i].age = observer->age;
	table->entries[i].observer = observer->slot;
	publish(observer->vm, table);
	program_free(old, false);
	return 0;
}

static int attach(struct hwv_host_observer *observer, struct hwv_host_program *program,
		  struct hwv_program_attach *request)
{
	struct hwv_host_vm *vm = observer->vm;
	int err;

	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	if (vm->ended)
		err = -ESRCH;
	else if (request->flags & HWV_PROGRAM_REPLACE)
		err = replace(observer, program, request);
	else
		err = insert(observer, program, request);
	mutex_unlock(&vm->lock);
	return err;
}

long hwv_program_attach(void *object, void *argument)
{
	struct hwv_host_observer *observer = object;
	struct hwv_program_attach *request = argument;
	struct hwv_host_program *program;
	struct bpf_prog *prog;
	int err;

	request->refused = HWV_PROGRAM_OK;
	if ((request->flags & ~HWV_PROGRAM_REPLACE) || request->reserved ||
	    (request->id && !(request->flags & HWV_PROGRAM_REPLACE)))
		return -EINVAL;
	err = hwv_core_can_make(request->reasons);
	if (err) {
		request->refused = HWV_PROGRAM_REASONS;
		return err;
	}
	prog = get_program(request);
	if (IS_ERR(prog))
		return PTR_ERR(prog);
	program = kzalloc(sizeof(*program), GFP_KERNEL_ACCOUNT);
	if (!program) {
		bpf_prog_put(prog);
		return -ENOMEM;
	}
	program->prog = prog;
	program->observer = observer;
	err = attach(observer, program, request);
	if (err)
		program_free(program, false);
	return err;
}

/*
 * Program `id`, or with id 0 all of an observer's. Who takes something away is not refused for want of
 * memory: a few hundred bytes, which are given back at once.
 */
static int detach(struct hwv_host_vm *vm, u64 id, const struct hwv_host_observer *observer)
{
	struct hwv_host_program *gone[HWV_MAX_PROGRAMS];
	struct hwv_program_table *table;
	u32 i, kept = 0, count = 0;

	if (!vm->programs)
		return -ENOENT;
	table = copy_table(vm, GFP_KERNEL | __GFP_NOFAIL);
	for (i = 0; i < table->count; i++) {
		struct hwv_host_program *program = table->entries[i].program;

		if (id ? program->id == id : program->observer == observer)
			gone[count++] = program;
		else
			table->entries[kept++] = table->entries[i];
	}
	table->count = kept;
	if (!count) {
		kfree(table);
		return -ENOENT;
	}
	publish(vm, table);
	while (count)
		program_free(gone[--count], true);
	return 0;
}

long hwv_program_detach(void *object, void *argument)
{
	struct hwv_host_observer *observer = object;
	const u64 *id = argument;
	int err;

	if (!*id)
		return -ENOENT;
	if (mutex_lock_killable(&observer->vm->lock))
		return -EINTR;
	err = detach(observer->vm, *id, NULL);
	mutex_unlock(&observer->vm->lock);
	return err;
}

void hwv_programs_detach(struct hwv_host_observer *observer)
{
	detach(observer->vm, 0, observer);
}

long hwv_program_list(void *object, void *argument)
{
	struct hwv_host_observer *observer = object;
	struct hwv_host_vm *vm = observer->vm;
	struct hwv_program_list *request = argument;
	struct hwv_program_entry entries[HWV_MAX_PROGRAMS] = {};
	u32 room = request->count, i;

	if (request->reserved)
		return -EINVAL;
	if (mutex_lock_killable(&vm->lock))
		return -EINTR;
	request->count = vm->programs ? vm->programs->count : 0;
	for (i = 0; i < request->count; i++) {
		const struct hwv_program_slot *slot = &vm->programs->entries[i];
		const struct bpf_prog_aux *aux = slot->program->prog->aux;

		entries[i].id = slot->program->id;
		entries[i].reasons = slot->reasons;
		entries[i].bpf_id = aux->id;
		entries[i].flags = slot->program->observer == observer ? HWV_PROGRAM_MINE : 0;
		strscpy(entries[i].name, aux->name, sizeof(entries[i].name));
		entries[i].counts = *slot->counts;
	}
	mutex_unlock(&vm->lock);
	if (request->count > room)
		return -E2BIG;
	if (copy_to_user(u64_to_user_ptr(request->entries), entries,
			 request->count * sizeof(entries[0])))
		return -EFAULT;
	return 0;
}
