// SPDX-License-Identifier: GPL-2.0-only
/*
 * A plugin for QEMU's translator: how often each instruction of L1 is executed. Written to the file of its argument
 * out=PATH when QEMU ends, a line for each address: address, count, the instruction as it was last translated (the kernel
 * patches itself). With from=ADDRESS and to=ADDRESS only what was executed between these two is counted, the last time.
 * For one CPU: the counters are not atomic.
 * The declarations are QEMU's interface for plugins, version 1, of which Debian has no header.
 */
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct qemu_plugin_tb;
struct qemu_plugin_insn;
typedef uint64_t plugin_id;
enum { PLUGIN_VERSION = 1, INLINE_ADD_U64 = 0, CALLBACK_NEEDS_NO_REGISTERS = 0 };

extern void qemu_plugin_register_vcpu_tb_trans_cb(plugin_id id, void (*cb)(plugin_id, struct qemu_plugin_tb *));
extern void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op, void *counter, uint64_t add);
extern void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, void (*cb)(unsigned int, void *), int flags,
						   void *data);
extern void qemu_plugin_register_atexit_cb(plugin_id id, void (*cb)(plugin_id, void *), void *data);
extern size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
extern struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t index);
extern uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
extern char *qemu_plugin_insn_disas(const struct qemu_plugin_insn *insn);

int qemu_plugin_version = PLUGIN_VERSION;

struct place {
	struct place *next;
	uint64_t address, count, kept;
	char *text;
};

enum { BUCKETS = 1 << 16 };
static struct place *places[BUCKETS];
static const char *path;
static uint64_t from, to;

static struct place *place_of(uint64_t address)
{
	struct place **at = &places[address * 0x9e3779b97f4a7c15 >> 48];

	while (*at && (*at)->address != address)
		at = &(*at)->next;
	if (!*at) {
		*at = calloc(1, sizeof(**at));
		if (!*at)
			abort();
		(*at)->address = address;
	}
	return *at;
}

static void begin(unsigned int cpu, void *data)
{
	(void)cpu, (void)data;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct place *p = places[i]; p; p = p->next)
			p->count = 0;
}

static void keep(unsigned int cpu, void *data)
{
	(void)cpu, (void)data;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct place *p = places[i]; p; p = p->next)
			p->kept = p->count;
}

static void translated(plugin_id id, struct qemu_plugin_tb *tb)
{
	(void)id;
	for (size_t i = 0; i < qemu_plugin_tb_n_insns(tb); i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		struct place *place = place_of(qemu_plugin_insn_vaddr(insn));

		free(place->text);
		place->text = qemu_plugin_insn_disas(insn);
		if (to && place->address == from)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, begin, CALLBACK_NEEDS_NO_REGISTERS, NULL);
		if (to && place->address == to)
			qemu_plugin_register_vcpu_insn_exec_cb(insn, keep, CALLBACK_NEEDS_NO_REGISTERS, NULL);
		qemu_plugin_register_vcpu_insn_exec_inline(insn, INLINE_ADD_U64, &place->count, 1);
	}
}

static void ended(plugin_id id, void *data)
{
	FILE *out = fopen(path, "w");

	(void)id, (void)data;
	if (!to)
		keep(0, NULL);
	for (size_t i = 0; out && i < BUCKETS; i++)
		for (const struct place *p = places[i]; p; p = p->next)
			if (p->kept)
				fprintf(out, "%" PRIx64 " %" PRIu64 " %s\n", p->address, p->kept, p->text ? p->text : "?");
	if (!out || fclose(out))
		perror(path);
}

int qemu_plugin_install(plugin_id id, const void *info, int argc, char **argv)
{
	(void)info;
	for (int i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			path = strdup(argv[i] + 4);
		else if (!strncmp(argv[i], "from=", 5))
			from = strtoull(argv[i] + 5, NULL, 0);
		else if (!strncmp(argv[i], "to=", 3))
			to = strtoull(argv[i] + 3, NULL, 0);
		else
			return -1;
	}
	if (!path)
		return -1;
	qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
	qemu_plugin_register_atexit_cb(id, ended, NULL);
	return 0;
}
