// SPDX-License-Identifier: GPL-2.0-only
/*
 * hwv-mark TEXT|NUMBER: a mark in the records of the VM that this guest is, see hwv_guest.h. Static, without a C library, so that it runs in
 * any 64-bit Linux guest, an initramfs too.
 */
#include <cpuid.h>
#include "hwv_guest.h"

enum { SYS_WRITE = 1, SYS_EXIT = 60 };

static long system_call(long nr, long a, long b, long c)
{
	long result;

	asm volatile("syscall" : "=a"(result) : "0"(nr), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static _Noreturn void end(int status)
{
	for (;;)
		system_call(SYS_EXIT, status, 0, 0);
}

static _Noreturn void refuse(const char *why)
{
	long length = 0;

	while (why[length])
		length++;
	system_call(SYS_WRITE, 2, (long)why, length);
	end(2);
}

/* 0x..., at most 16 digits: 1, and its value; anything else: 0. */
static int hexadecimal(const char *text, unsigned long *value)
{
	int digits = 0;

	*value = 0;
	if (text[0] != '0' || text[1] != 'x')
		return 0;
	for (text += 2; *text; text++, digits++) {
		char low = *text | 0x20;

		if (*text >= '0' && *text <= '9')
			*value = *value << 4 | (*text - '0');
		else if (low >= 'a' && low <= 'f')
			*value = *value << 4 | (low - 'a' + 10);
		else
			return 0;
	}
	return digits > 0 && digits <= 16;
}

static unsigned long characters(const char *text)
{
	unsigned long value = 0;
	int i;

	for (i = 0; text[i]; i++) {
		if (i == 8)
			refuse("hwv-mark: at most eight characters\n");
		value |= (unsigned long)(unsigned char)text[i] << 8 * i;
	}
	return value;
}

static long hypercall(unsigned long nr, unsigned long argument, int amd)
{
	long result;

	if (amd)
		asm volatile("vmmcall" : "=a"(result) : "0"(nr), "b"(argument) : "memory");
	else
		asm volatile("vmcall" : "=a"(result) : "0"(nr), "b"(argument) : "memory");
	return result;
}

__attribute__((used)) _Noreturn void start(long *stack)
{
	char **arguments = (char **)(stack + 1);
	unsigned long value;
	unsigned int a, b, c, d;

	if (stack[0] != 2 || !arguments[1][0] || arguments[1][0] == '-')
		refuse("usage: hwv-mark TEXT|0xNUMBER\n"
		       "Up to eight characters, or a number, appear in hwvctl trace and report.\n"
		       "example: hwv-mark boot; make; hwv-mark built\n");
	__cpuid(1, a, b, c, d);
	if (!(c >> 31))
		refuse("hwv-mark: this is no virtual machine\n");
	if (!hexadecimal(arguments[1], &value))
		value = characters(arguments[1]);
	__cpuid(0, a, b, c, d);
	if (hypercall(HWV_HYPERCALL_MARK, value, b == signature_AMD_ebx || b == 0x6f677948 /* Hygo */))
		refuse("hwv-mark: the hypervisor is not hwv: no mark was made\n");
	end(0);
}

asm(".globl _start\n"
    "_start:\n"
    "	xor %ebp, %ebp\n"
    "	mov %rsp, %rdi\n"
    "	and $-16, %rsp\n"
    "	call start\n");
