// SPDX-License-Identifier: GPL-2.0-only
// A driver that breaks the rules of a virtio network card, for tests/guests/vhost.py: queue-breaker DEVICE, a directory of sysfs of a
// PCI device that no driver has. It says for each way of breaking them whether the card wants to be reset.
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, SIZE = 8, OUTPUT = 1, NEXT = 1, NEEDS_RESET = 0x40 };

struct descriptor {
	uint64_t address;
	uint32_t length;
	uint16_t flags, next;
};

static struct page {
	struct descriptor table[SIZE];
	struct { uint16_t flags, index, heads[SIZE], event; } driver;
	_Alignas(8) struct { uint16_t flags, index; uint32_t used[2 * SIZE]; uint16_t event; } device;
	char frame[100];
} *page; // in one page of the guest's memory, which is at `physical`
static uint64_t physical;
static volatile uint8_t *common; // "Common configuration structure layout"
static int doorbell;             // the ports that notify

static void set8(int at, uint8_t value) { common[at] = value; }
static void set16(int at, uint16_t value) { *(volatile uint16_t *)(common + at) = value; }
static void set32(int at, uint32_t value) { *(volatile uint32_t *)(common + at) = value; }

static void set64(int at, uint64_t value)
{
	set32(at, (uint32_t)value);
	set32(at + 4, (uint32_t)(value >> 32));
}

static void *map(const char *device, const char *name, int flags, size_t bytes)
{
	char path[300];
	snprintf(path, sizeof path, "%s/%s", device, name);
	int fd = open(path, flags | O_CLOEXEC);
	if (fd < 0 || !bytes)
		return (void *)(intptr_t)fd;
	return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static int find_memory(void)
{
	uint64_t entry = 0;
	int map = open("/proc/self/pagemap", O_RDONLY);
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_LOCKED, -1, 0);
	memset(page, 0, PAGE);
	if (pread(map, &entry, sizeof entry, (off_t)((uintptr_t)page / PAGE * sizeof entry)) != sizeof entry)
		return 1;
	physical = (entry & ((1ull << 55) - 1)) * PAGE;
	return physical == 0;
}

// The queue with one frame in it, as it should be.
static void prepare(void)
{
	set8(0x14, 0);
	memset(page, 0, PAGE);
	page->table[0] = (struct descriptor){physical + offsetof(struct page, frame), sizeof page->frame, 0, 0};
	page->driver.index = 1;
	set8(0x14, 3);
	set32(0x08, 1);
	set32(0x0c, 1); // VIRTIO_F_VERSION_1
	set8(0x14, 0xb);
	set16(0x16, OUTPUT);
	set16(0x18, SIZE);
	set64(0x20, physical);
	set64(0x28, physical + offsetof(struct page, driver));
	set64(0x30, physical + offsetof(struct page, device));
}

static void run(const char *what)
{
	uint32_t number = OUTPUT;
	set16(0x1c, 1);
	set8(0x14, 0xf);
	for (int tries = 0; tries < 10 && !(common[0x14] & NEEDS_RESET); ++tries) {
		if (pwrite(doorbell, &number, sizeof number, 4 * OUTPUT) != sizeof number)
			printf("no doorbell\n");
		usleep(20000);
	}
	printf("%s: %s, %d frames sent\n", what, common[0x14] & NEEDS_RESET ? "wants a reset" : "goes on", page->device.index);
}

int main(int count, char **arguments)
{
	if (count != 2 || find_memory())
		return 1;
	doorbell = (int)(intptr_t)map(arguments[1], "resource0", O_RDWR, 0);
	common = map(arguments[1], "resource1", O_RDWR | O_SYNC, PAGE);
	if (doorbell < 0 || common == MAP_FAILED)
		return 1;
	prepare();
	run("good");
	prepare();
	page->driver.index = 1000;
	run("index");
	prepare();
	page->driver.heads[0] = 4000;
	run("head");
	prepare();
	page->table[0].address = 0xb0000000;
	run("address");
	prepare();
	page->table[0].flags = NEXT;
	run("loop");
	prepare();
	page->table[0].length = 0;
	run("nothing");
	prepare();
	set16(0x18, 7);
	run("size");
	prepare();
	set64(0x30, 0xb0000000);
	run("ring");
	prepare();
	set64(0x20, physical + 4);
	run("unaligned");
	prepare();
	run("good again");
	set8(0x14, 0);
	return 0;
}
