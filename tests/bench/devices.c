// SPDX-License-Identifier: GPL-2.0-only
/*
 * An init for a guest whose devices are measured: says MARK NAME COUNT when it has done COUNT of something, for tests/bench/launch.
 * /modules has what it needs of kernel modules, in the order of their names.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <glob.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { WAKES = 300, READS = 2000, SENDS = 2000, BLOCK = 4096, PAYLOAD = 1472, WARM = 100 };
#define HOST "10.0.2.2"

static void check(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	sync();
	reboot(RB_POWER_OFF);
}

static void pause_ns(long ns)
{
	const struct timespec time = { .tv_nsec = ns };

	nanosleep(&time, NULL);
}

// Who reads it on a host of one processor has to get at it before anything else is done.
static void mark(const char *name, int count)
{
	printf("MARK %s %d\n", name, count);
	fflush(stdout);
	pause_ns(30000000);
}

static void load_modules(void)
{
	glob_t found;

	check(!glob("/modules/*.ko", 0, NULL, &found), "modules");
	for (size_t i = 0; i < found.gl_pathc; i++) {
		const int fd = open(found.gl_pathv[i], O_RDONLY);

		check(fd >= 0 && !syscall(SYS_finit_module, fd, "", 0), found.gl_pathv[i]);
		close(fd);
	}
}

// The processor halts, and its timer wakes it.
static void sleep_often(void)
{
	pause_ns(900000000); // what the boot has left to do
	mark("start", 0);
	for (int i = 0; i < WAKES; i++)
		pause_ns(500000);
	mark("timer_wake", WAKES);
}

static void read_block(int fd, void *block, unsigned blocks)
{
	check(pread(fd, block, BLOCK, (off_t)(rand() % blocks) * BLOCK) == BLOCK, "read");
}

static void read_disk(void)
{
	void *const block = aligned_alloc(BLOCK, BLOCK);
	const int fd = open("/dev/vda", O_RDONLY | O_DIRECT);
	const off_t end = lseek(fd, 0, SEEK_END);

	check(block && fd >= 0 && end >= BLOCK, "/dev/vda");
	for (int i = 0; i < WARM; i++)
		read_block(fd, block, end / BLOCK);
	mark("start", 0);
	for (int i = 0; i < READS; i++)
		read_block(fd, block, end / BLOCK);
	mark("blk_read", READS);
}

static void bring_up(int fd)
{
	struct ifreq request = { .ifr_name = "eth0" };
	struct sockaddr_in *const address = (struct sockaddr_in *)&request.ifr_addr;

	address->sin_family = AF_INET;
	inet_pton(AF_INET, "10.0.2.15", &address->sin_addr);
	check(!ioctl(fd, SIOCSIFADDR, &request), "address of eth0");
	request.ifr_flags = IFF_UP | IFF_RUNNING;
	check(!ioctl(fd, SIOCSIFFLAGS, &request), "eth0");
}

static void send_packets(void)
{
	static char payload[PAYLOAD];
	const int fd = socket(AF_INET, SOCK_DGRAM, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };

	check(fd >= 0, "socket");
	bring_up(fd);
	inet_pton(AF_INET, HOST, &to.sin_addr);
	check(!connect(fd, (struct sockaddr *)&to, sizeof(to)), "connect");
	for (int i = 0; i < WARM; i++) {
		send(fd, payload, sizeof(payload), 0);
		pause_ns(1000000);
	}
	mark("start", 0);
	for (int i = 0; i < SENDS; i++)
		check(send(fd, payload, sizeof(payload), 0) == PAYLOAD, "send");
	mark("net_send", SENDS);
}

int main(void)
{
	check(!mount("dev", "/dev", "devtmpfs", 0, NULL), "devtmpfs");
	load_modules();
	for (int i = 0; i < 100 && access("/dev/vda", R_OK); i++)
		pause_ns(10000000);
	sleep_often();
	read_disk();
	send_packets();
	puts("HWV-GUEST-DONE");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
