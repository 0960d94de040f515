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

enum { WAKES = 300, READS = 2000, SENDS = 2000, BLOCK = 4096, PAYLOAD = 1472, WARM = 100, MIBS = 2, MIB = 1 << 20 };
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

static int connected(int kind, int port)
{
	const int fd = socket(AF_INET, kind, 0);
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(port) };

	check(fd >= 0, "socket");
	inet_pton(AF_INET, HOST, &to.sin_addr);
	check(!connect(fd, (struct sockaddr *)&to, sizeof(to)), "connect");
	return fd;
}

static void send_packets(void)
{
	static char payload[PAYLOAD];
	int fd = socket(AF_INET, SOCK_DGRAM, 0);

	bring_up(fd);
	close(fd);
	fd = connected(SOCK_DGRAM, 9);
	for (int i = 0; i < WARM; i++) {
		send(fd, payload, sizeof(payload), 0);
		pause_ns(1000000);
	}
	mark("start", 0);
	for (int i = 0; i < SENDS; i++)
		check(send(fd, payload, sizeof(payload), 0) == PAYLOAD, "send");
	mark("net_send", SENDS);
}

static char stream[1 << 16];

// Its end has it all when that hangs up.
static void write_all(size_t bytes)
{
	const int fd = connected(SOCK_STREAM, 9);

	for (; bytes; bytes -= sizeof(stream))
		check(send(fd, stream, sizeof(stream), 0) == sizeof(stream), "send");
	shutdown(fd, SHUT_WR);
	check(!read(fd, stream, 1), "end of stream");
	close(fd);
}

static void send_stream(void)
{
	write_all(sizeof(stream));
	mark("start", 0);
	write_all(MIBS * MIB);
	mark("tcp_send_mib", MIBS);
}

static void ask_for_mibs(int fd, int mibs)
{
	check(send(fd, stream, mibs, 0) == mibs, "send");
	for (size_t left = (size_t)mibs * MIB; left;) {
		const ssize_t got = recv(fd, stream, left < sizeof(stream) ? left : sizeof(stream), 0);

		check(got > 0, "receive");
		left -= got;
	}
}

static void receive_stream(void)
{
	const int fd = connected(SOCK_STREAM, 19);

	ask_for_mibs(fd, 1);
	mark("start", 0);
	ask_for_mibs(fd, MIBS);
	mark("tcp_recv_mib", MIBS);
	close(fd);
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
	send_stream();
	receive_stream();
	puts("HWV-GUEST-DONE");
	fflush(stdout);
	reboot(RB_POWER_OFF);
	return 1;
}
