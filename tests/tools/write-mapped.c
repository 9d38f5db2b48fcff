// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * write-mapped: one write() to a file whose data is read from mapped devices while it goes on.
 *
 * While it does, it holds off a freeze of the file's file system.  A device that is suspended
 * makes it do so for as long as a test wants.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define MAX_DEVICES	8
#define PAGE		4096u

static const char usage[] =
"usage: write-mapped FILE DEVICE...\n"
"\n"
"Writes the first page of each to FILE, in this order, as one write. It says \"ready\" when\n"
"nothing else is left to do.\n";

int main(int argc, char **argv)
{
	struct iovec iov[MAX_DEVICES];
	int file, fd, i;

	if (argc < 3 || argc - 2 > MAX_DEVICES) {
		fputs(usage, stderr);
		return 2;
	}
	for (i = 2; i < argc; i++) {
		fd = open(argv[i], O_RDONLY | O_CLOEXEC);
		iov[i - 2].iov_base = fd < 0 ? MAP_FAILED :
				      mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
		iov[i - 2].iov_len = PAGE;
		if (iov[i - 2].iov_base == MAP_FAILED) {
			perror(argv[i]);
			return 1;
		}
	}
	file = open(argv[1], O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	/* Of nothing, so that what the call needs is in memory. */
	if (file >= 0 && !writev(file, iov, 0)) {
		puts("ready");
		fflush(stdout);
	}
	if (file < 0 || writev(file, iov, argc - 2) != (ssize_t)(argc - 2) * PAGE) {
		perror(argv[1]);
		return 1;
	}
	return 0;
}
