// SPDX-License-Identifier: GPL-2.0-only
/*
 * In L1 under Bochs, what speaks with the bed:
 *   port send CHANNEL LOCK   sends stdin through port 0xe9, which is the emulator's stdout, and says at the end how many
 *                            bytes those were. Each piece is a frame: a mark, the channel, the size, the bytes. The lock
 *                            keeps the frames of several channels apart.
 *   port save                stops Bochs in its debugger, where state.c saves L1; each later run starts from there
 *   port fetch               writes to stdout what is on the second disk: the size in its first sector, then the bytes
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/io.h>
#include <unistd.h>
#include "ata.h"

enum { BOCHS_STDOUT = 0xe9, BOCHS_REQUESTS = 0x8900 };

struct frame {
	char mark[7];
	char channel;
	uint32_t size;
	char data[16384];
} __attribute__((packed));

static int send(int channel, const char *lock_path)
{
	static struct frame frame = { .mark = { 2, 'h', 'w', 'v', 'b', 'e', 'd' } };
	int lock = open(lock_path, O_RDWR | O_CREAT, 0600);
	unsigned long total = 0;
	ssize_t got;

	frame.channel = channel;
	while ((got = read(0, frame.data, sizeof(frame.data))) > 0) {
		frame.size = got;
		flock(lock, LOCK_EX);
		outsb(BOCHS_STDOUT, &frame, sizeof(frame) - sizeof(frame.data) + got);
		flock(lock, LOCK_UN);
		total += got;
	}
	printf("%lu\n", total);
	return 0;
}

static int fetch(void)
{
	static char buffer[ATA_MOST * ATA_SECTOR];
	uint64_t size, now;
	uint32_t sector = 1;

	outb(ATA_NO_INTERRUPTS, ATA_CONTROL);
	ata_read(buffer, 1, 0, 1);
	memcpy(&size, buffer, sizeof(size));
	for (; size; size -= now) {
		now = size < sizeof(buffer) ? size : sizeof(buffer);
		ata_read(buffer, 1, sector, (now + ATA_SECTOR - 1) / ATA_SECTOR);
		sector += ATA_MOST;
		if (fwrite(buffer, 1, now, stdout) != now)
			return 1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";

	if (iopl(3)) {
		perror("port");
		return 1;
	}
	if (!strcmp(what, "send") && argc == 4)
		return send(atoi(argv[2]), argv[3]);
	if (!strcmp(what, "fetch"))
		return fetch();
	if (!strcmp(what, "save")) {
		outb('D', BOCHS_REQUESTS);
		return 0;
	}
	return 1;
}
