// SPDX-License-Identifier: GPL-2.0-only
/*
 * The loader's second half, in long mode: reads what the plan at the start of the disk says to where it says, and makes the
 * kernel's boot parameters. disks.py writes the plan.
 */
#include "layout.h"

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long u64;

struct piece {
	u64 address;
	u32 sector, sectors;
};

struct plan {
	char magic[8];
	u64 entry;
	u32 initrd, initrd_size;
	u32 pieces, sectors; /* of the plan itself */
	u8 setup[0x100];     /* the kernel image's setup header, from SETUP on */
	char command_line[2048];
	struct piece piece[];
};

/* Places in struct boot_params, see the kernel's Documentation/arch/x86/boot.rst and zero-page.rst. */
enum { E820_COUNT = 0x1e8, SETUP = 0x1f1, LOADER = 0x210, LOADED_HIGH = 0x211, INITRD = 0x218, INITRD_SIZE = 0x21c,
       COMMAND_LINE_POINTER = 0x228, SETUP_END = 0x290, E820 = 0x2d0 };

static inline void outb(u8 value, u16 port)
{
	asm volatile("outb %0, %1" : : "a"(value), "d"(port));
}

static inline u8 inb(u16 port)
{
	u8 value;

	asm volatile("inb %1, %0" : "=a"(value) : "d"(port));
	return value;
}

#include "ata.h"

static void copy(u8 *to, const u8 *from, u32 size)
{
	asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(size) : : "memory");
}

/* Bochs ends when it hears this word from port 0x8900. */
static void die(const char *why)
{
	while (*why)
		outb(*why++, 0xe9);
	for (why = "Shutdown"; *why; why++)
		outb(*why, 0x8900);
	for (;;)
		asm volatile("hlt");
}

static void read(u64 address, u32 sector, u32 sectors)
{
	while (sectors) {
		u32 now = sectors > ATA_MOST ? ATA_MOST : sectors;

		ata_read((char *)address, 0, sector, now);
		address += now * ATA_SECTOR;
		sector += now;
		sectors -= now;
	}
}

static void fill_boot_params(u8 *params, const struct plan *plan)
{
	u16 ranges = *(volatile u16 *)MEMORY_MAP_COUNT;

	for (int i = 0; i < 4096; i++)
		params[i] = 0;
	copy(params + SETUP, plan->setup, SETUP_END - SETUP);
	copy((u8 *)COMMAND_LINE, (const u8 *)plan->command_line, sizeof(plan->command_line));
	params[LOADER] = 0xff;
	params[LOADED_HIGH] = 1;
	*(u32 *)(params + COMMAND_LINE_POINTER) = COMMAND_LINE;
	*(u32 *)(params + INITRD) = plan->initrd;
	*(u32 *)(params + INITRD_SIZE) = plan->initrd_size;
	params[E820_COUNT] = ranges;
	copy(params + E820, (const u8 *)MEMORY_MAP, ranges * MEMORY_MAP_ENTRY);
}

/* The kernel's entry point. */
u64 load(void)
{
	const struct plan *plan = (const struct plan *)PLAN;

	outb(ATA_NO_INTERRUPTS, ATA_CONTROL);
	read(PLAN, 0, 1);
	if (*(const u64 *)plan->magic != 0x004e414c50565748) /* HWVPLAN */
		die("loader: no plan on the disk\n");
	read(PLAN, 0, plan->sectors);
	for (u32 i = 0; i < plan->pieces; i++)
		read(plan->piece[i].address, plan->piece[i].sector, plan->piece[i].sectors);
	outb(0, ATA_CONTROL);
	fill_boot_params((u8 *)BOOT_PARAMS, plan);
	return plan->entry;
}
