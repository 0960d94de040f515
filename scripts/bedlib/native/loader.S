/* SPDX-License-Identifier: GPL-2.0-only
 * Option ROM at 0xd0000. When the BIOS calls it, its tables for the kernel are made: it never returns, but goes into long
 * mode with low memory mapped one to one, has load() read the kernel, and enters that by its 64-bit boot protocol.
 */
#include "layout.h"
#define WORDS(bytes) ((bytes) / 4)

	.code16
	.section .rom, "ax"
	.globl _start
_start:
	.byte 0x55, 0xaa, ROM_SECTORS
	cli
	cld
	xor %ax, %ax
	mov %ax, %ds
	mov %ax, %es
	mov %ax, %ss
	mov $0x7c00, %sp
	in $0x92, %al			/* A20 on, without a reset */
	or $2, %al
	and $0xfe, %al
	out %al, $0x92

	/* the memory map: entries as the BIOS gives them, and their number */
	xor %ebx, %ebx
	xor %bp, %bp
	mov $MEMORY_MAP, %di
next_range:
	mov $0xe820, %eax
	mov $0x534d4150, %edx		/* SMAP */
	mov $MEMORY_MAP_ENTRY, %ecx
	int $0x15
	jc map_done
	inc %bp
	add $MEMORY_MAP_ENTRY, %di
	test %ebx, %ebx
	jnz next_range
map_done:
	mov %bp, MEMORY_MAP_COUNT
	cli
	lgdtl %cs:(gdtr - ROM)
	mov %cr0, %eax
	or $1, %al
	mov %eax, %cr0
	ljmpl $0x08, $protected

	.code32
protected:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss

	/* page tables: one table of the first level, one of the second, four of 2 MiB pages for 4 GiB */
	mov $PAGE_TABLES, %edi
	xor %eax, %eax
	mov $WORDS(6 * 0x1000), %ecx
	rep stosl
	movl $(PAGE_TABLES + 0x1003), PAGE_TABLES
	movl $(PAGE_TABLES + 0x2003), PAGE_TABLES + 0x1000
	movl $(PAGE_TABLES + 0x3003), PAGE_TABLES + 0x1008
	movl $(PAGE_TABLES + 0x4003), PAGE_TABLES + 0x1010
	movl $(PAGE_TABLES + 0x5003), PAGE_TABLES + 0x1018
	mov $0x83, %eax
	mov $(PAGE_TABLES + 0x2000), %edi
	mov $2048, %ecx
next_page:
	mov %eax, (%edi)
	add $0x200000, %eax
	add $8, %edi
	dec %ecx
	jnz next_page

	mov %cr4, %eax			/* PAE, EFER.LME, paging */
	or $0x20, %eax
	mov %eax, %cr4
	mov $PAGE_TABLES, %eax
	mov %eax, %cr3
	mov $0xc0000080, %ecx
	rdmsr
	or $0x100, %eax
	wrmsr
	mov %cr0, %eax
	or $0x80000000, %eax
	mov %eax, %cr0
	ljmpl $0x18, $long_mode

	.code64
long_mode:
	mov $0x10, %eax
	mov %eax, %ds
	mov %eax, %es
	mov %eax, %ss
	mov $STACK_TOP, %esp
	call load
	mov $BOOT_PARAMS, %esi
	xor %ebp, %ebp
	xor %edi, %edi
	xor %ebx, %ebx
	jmp *%rax

	.align 8
gdt:	.quad 0
	.quad 0x00cf9b000000ffff	/* 32-bit code, data, 64-bit code */
	.quad 0x00cf93000000ffff
	.quad 0x00af9b000000ffff
gdtr:	.word gdtr - gdt - 1
	.long gdt
