/* SPDX-License-Identifier: GPL-2.0-only */
/* Where the loader puts things in L1's memory before the kernel runs. */
#define ROM 0xd0000
#define ROM_SECTORS 8
#define MEMORY_MAP_COUNT 0x7ff0
#define MEMORY_MAP 0x8000
#define MEMORY_MAP_ENTRY 20
#define STACK_TOP 0x6f000
#define PAGE_TABLES 0x70000
#define COMMAND_LINE 0x78000
#define BOOT_PARAMS 0x79000
#define PLAN 0x600000
