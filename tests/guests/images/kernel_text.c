// SPDX-License-Identifier: GPL-2.0-only
/*
 * kernel_text FUNCTION... [-- SYMBOL...]: the running kernel's code, as alternatives and return sites were patched in it: for
 * each function "code NAME ADDRESS BYTES" in hexadecimal, for each symbol "at NAME ADDRESS". For root.
 */
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST 4096

struct symbol {
	const char *name;
	unsigned long address, end; /* end: the next symbol's address, where it is asked for */
};

/* One pass through /proc/kallsyms, for it is long: addresses, or when these are known, ends. */
static void find(struct symbol *symbols, int count, int ends)
{
	FILE *file = fopen("/proc/kallsyms", "r");
	char line[1024];

	while (file && fgets(line, sizeof(line), file)) {
		unsigned long address = strtoul(line, NULL, 16);
		char *name = line + 19; /* "0123456789abcdef t name" */
		size_t length = strcspn(name, "\t\n");

		for (struct symbol *s = symbols; s < symbols + count; s++)
			if (ends && s->address && address > s->address && (!s->end || address < s->end))
				s->end = address;
			else if (!ends && !strncmp(name, s->name, length) && !s->name[length])
				s->address = address;
	}
	if (file)
		fclose(file);
}

static int read_kernel(unsigned long address, unsigned char *to, size_t bytes)
{
	Elf64_Ehdr head;
	Elf64_Phdr part;
	int file = open("/proc/kcore", O_RDONLY), done = 0;

	if (file < 0 || pread(file, &head, sizeof(head), 0) != sizeof(head))
		return 0;
	for (int i = 0; !done && i < head.e_phnum; i++) {
		if (pread(file, &part, sizeof(part), head.e_phoff + i * sizeof(part)) != sizeof(part))
			break;
		if (part.p_type == PT_LOAD && address - part.p_vaddr < part.p_memsz)
			done = pread(file, to, bytes, part.p_offset + address - part.p_vaddr) == (ssize_t)bytes;
	}
	close(file);
	return done;
}

int main(int argc, char **argv)
{
	struct symbol symbols[64] = { 0 };
	unsigned char code[MOST];
	int functions = 0, count = argc - 1;

	if (count > 64)
		return 1;
	for (int i = 0; i < count; i++)
		symbols[i].name = argv[i + 1];
	while (functions < count && strcmp(symbols[functions].name, "--"))
		functions++;
	find(symbols, count, 0);
	find(symbols, functions, 1);
	for (struct symbol *s = symbols; s < symbols + functions; s++) {
		unsigned long bytes = s->end - s->address < MOST ? s->end - s->address : MOST;

		if (!s->address || !read_kernel(s->address, code, bytes)) {
			printf("no code %s\n", s->name);
			continue;
		}
		printf("code %s %lx ", s->name, s->address);
		for (unsigned long n = 0; n < bytes; n++)
			printf("%02x", code[n]);
		printf("\n");
	}
	for (struct symbol *s = symbols + functions + 1; s < symbols + count; s++)
		printf("at %s %lx\n", s->name, s->address);
	return 0;
}
