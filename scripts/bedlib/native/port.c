// SPDX-License-Identifier: GPL-2.0-only
/*
 * port CHANNEL LOCK: in L1, sends stdin to the bed through Bochs's port 0xe9, which is the emulator's stdout, and says at
 * the end how many bytes those were. Each piece is a frame: a mark, the channel, the size, the bytes. The lock keeps the
 * frames of several channels apart.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/io.h>
#include <unistd.h>

#define PORT 0xe9

struct frame {
	char mark[7];
	char channel;
	uint32_t size;
	char data[16384];
} __attribute__((packed));

int main(int argc, char **argv)
{
	static struct frame frame = { .mark = { 2, 'h', 'w', 'v', 'b', 'e', 'd' } };
	unsigned long total = 0;
	ssize_t got;
	int lock;

	lock = argc == 3 ? open(argv[2], O_RDWR | O_CREAT, 0600) : -1;
	if (lock < 0 || ioperm(PORT, 1, 1)) {
		perror("port");
		return 1;
	}
	frame.channel = atoi(argv[1]);
	while ((got = read(0, frame.data, sizeof(frame.data))) > 0) {
		frame.size = got;
		flock(lock, LOCK_EX);
		outsb(PORT, &frame, sizeof(frame) - sizeof(frame.data) + got);
		flock(lock, LOCK_UN);
		total += got;
	}
	printf("%lu\n", total);
	return 0;
}
