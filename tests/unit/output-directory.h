/* SPDX-License-Identifier: GPL-2.0-or-later */
/* output-directory: what tests of outputs share: a new directory, and what is in it. */
#ifndef OUTPUT_DIRECTORY_H
#define OUTPUT_DIRECTORY_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "output/output.h"


static char dir[] = "/tmp/test-output-XXXXXX";
static char path[sizeof(dir) + 16];

static inline int in_new_directory(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	strcpy(dir + strlen(dir) - 6, "XXXXXX");
	if (!mkdtemp(dir))
		return -1;
	snprintf(path, sizeof(path), "%s/archive.vma", dir);
	return 0;
}

/* Names in the directory beside "." and "..". */
static inline int entries(void)
{
	DIR *d = opendir(dir);
	int n = 0;

	assert_non_null(d);
	while (readdir(d))
		n++;
	closedir(d);
	return n - 2;
}

static inline int without_directory(void **state)
{
	(void)state;
	unlink(path);
	/* Fails if a test left anything else behind. */
	return rmdir(dir);
}

static inline void write_text(struct output *o, const char *text)
{
	struct iovec iov = { (void *)text, strlen(text) };

	assert_int_equal(output_write(o, &iov, 1, NULL), 0);
}

static inline void check_content(const char *name, const char *want)
{
	char buf[100];
	FILE *f = fopen(name, "r");
	size_t n;

	assert_non_null(f);
	n = fread(buf, 1, sizeof(buf) - 1, f);
	buf[n] = '\0';
	fclose(f);
	assert_string_equal(buf, want);
}

static inline void refuse_open(const char *name, int code, const char *words)
{
	struct vma_error err = { "" };
	struct output *o = NULL;

	assert_int_equal(output_open(&o, name, &err), code);
	assert_null(o);
	if (!strstr(err.text, words))
		fail_msg("\"%s\" lacks \"%s\"", err.text, words);
}

#define test(f) cmocka_unit_test_setup_teardown(f, in_new_directory, without_directory)

#endif /* OUTPUT_DIRECTORY_H */
