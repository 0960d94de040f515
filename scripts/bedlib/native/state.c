// SPDX-License-Identifier: GPL-2.0-only
/*
 * Preloaded into Bochs. In the run that makes a saved state, Bochs stops in its debugger when L1 asks for it: where the
 * debugger would read a command, the state goes to the directory BED_SAVE. In runs that start from a state, Bochs would
 * copy L1's memory, all of its size, into a temporary file before it takes from that what is in use; it gets the saved
 * file itself instead, from which it only reads as long as it need not swap.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY "/memory.ram"

static char memory_path[4096];

char *readline(const char *prompt)
{
	char *(*real)(const char *) = dlsym(RTLD_NEXT, "readline");
	/* Bochs's bx_real_sim_c::save_state, and the object. */
	bool (*save)(void *, const char *) = dlsym(RTLD_DEFAULT, "_ZN13bx_real_sim_c10save_stateEPKc");
	void **simulator = dlsym(RTLD_DEFAULT, "SIM");
	const char *directory = getenv("BED_SAVE");

	if (!directory)
		return real(prompt);
	if (!save || !simulator || !save(*simulator, directory))
		fprintf(stderr, "the state cannot be saved\n");
	return strdup("quit");
}

/* The file to be copied: empty, but remembered. */
FILE *fopen64(const char *path, const char *mode)
{
	FILE *(*real)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen64");
	size_t length = strlen(path), tail = strlen(MEMORY);

	if (*mode != 'r' || length < tail || length >= sizeof(memory_path) || strcmp(path + length - tail, MEMORY))
		return real(path, mode);
	strcpy(memory_path, path);
	return real("/dev/null", mode);
}

/* The copy. */
FILE *tmpfile64(void)
{
	FILE *(*real)(void) = dlsym(RTLD_NEXT, "tmpfile64");
	FILE *(*open)(const char *, const char *) = dlsym(RTLD_NEXT, "fopen64");

	return *memory_path ? open(memory_path, "rb") : real();
}
