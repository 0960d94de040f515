// SPDX-License-Identifier: GPL-2.0-only
// The guest's end of a vsock, for tests/guests/vsock.py: vsock-end cid | listen PORT | connect PORT. What comes goes to standard
// output while standard input is sent, until both are over.
#include <errno.h>
#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static int fail(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	return 1;
}

static int copy(int from, int to)
{
	static char bytes[20000];
	for (;;) {
		ssize_t got = read(from, bytes, sizeof bytes);
		if (got <= 0)
			return got < 0;
		for (ssize_t at = 0; at < got;) {
			ssize_t put = write(to, bytes + at, got - at);
			if (put <= 0)
				return 1;
			at += put;
		}
	}
}

static int say_cid(void)
{
	unsigned int cid = 0;
	int vsock = open("/dev/vsock", O_RDONLY);
	if (vsock < 0 || ioctl(vsock, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid))
		return fail("/dev/vsock");
	printf("cid %u\n", cid);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc < 3)
		return say_cid();
	struct sockaddr_vm where = { .svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_HOST, .svm_port = atoi(argv[2]) };
	int end = socket(AF_VSOCK, SOCK_STREAM, 0);
	if (!strcmp(argv[1], "listen")) {
		where.svm_cid = VMADDR_CID_ANY;
		if (bind(end, (struct sockaddr *)&where, sizeof where) || listen(end, 1))
			return fail("listen");
		fprintf(stderr, "listening\n");
		end = accept(end, NULL, NULL);
		if (end < 0)
			return fail("accept");
	} else if (connect(end, (struct sockaddr *)&where, sizeof where)) {
		return fail("connect");
	}
	pid_t sender = fork();
	if (!sender) {
		int bad = copy(0, end);
		shutdown(end, SHUT_WR);
		_exit(bad);
	}
	int bad = copy(end, 1), sent = 0;
	waitpid(sender, &sent, 0);
	return bad || sent;
}
