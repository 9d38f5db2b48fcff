// SPDX-License-Identifier: GPL-2.0-or-later
/* output: standard output, which may be a pipe, a full device, or none. */
#include "output-directory.h"

/* Runs with fd as standard output; cmocka's own output goes elsewhere meanwhile. */
static int saved_stdout;

static void redirect(int fd)
{
	fflush(stdout);
	saved_stdout = dup(STDOUT_FILENO);
	assert_true(saved_stdout >= 0);
	dup2(fd, STDOUT_FILENO);
}

static void restore(void)
{
	dup2(saved_stdout, STDOUT_FILENO);
	close(saved_stdout);
}

static void no_space(void **state)
{
	struct iovec iov = { (void *)"x", 1 };
	struct vma_error err = { "" };
	struct output *o = NULL;
	int fd = open("/dev/full", O_WRONLY), ret;

	(void)state;
	assert_true(fd >= 0);
	redirect(fd);
	ret = output_open(&o, "-", &err);
	if (!ret)
		ret = output_write(o, &iov, 1, &err);
	restore();
	close(fd);
	output_abort(o);
	assert_int_equal(ret, -ENOSPC);
	assert_non_null(strstr(err.text, "standard output: no space left"));
}

struct drain {
	int fd;
	uint64_t sum, bytes;
};

static void *drain(void *ctx)
{
	struct drain *d = ctx;
	uint8_t buf[777];
	ssize_t n;

	while ((n = read(d->fd, buf, sizeof(buf))) > 0) {
		for (ssize_t i = 0; i < n; i++)
			d->sum = d->sum * 31 + buf[i];
		d->bytes += n;
	}
	return NULL;
}

/* A pipe takes what it has room for; one that is non-blocking says so. */
static void pipes(void **state)
{
	enum { SIZE = 3 << 20 };
	uint8_t *data = malloc(SIZE);
	uint64_t sum = 0;

	(void)state;
	assert_non_null(data);
	for (int i = 0; i < SIZE; i++) {
		data[i] = i * 2654435761u >> 20;
		sum = sum * 31 + data[i];
	}
	for (int flags = 0; flags <= O_NONBLOCK; flags += O_NONBLOCK) {
		struct iovec iov[] = { { data, 1000 }, { data + 1000, SIZE - 1000 } };
		struct drain d = { 0 };
		struct output *o = NULL;
		pthread_t thread;
		int fds[2], ret;

		assert_int_equal(pipe(fds), 0);
		assert_int_equal(fcntl(fds[1], F_SETFL, flags), 0);
		d.fd = fds[0];
		assert_int_equal(pthread_create(&thread, NULL, drain, &d), 0);
		redirect(fds[1]);
		close(fds[1]);
		ret = output_open(&o, "-", NULL);
		if (!ret)
			ret = output_write(o, iov, 2, NULL);
		if (!ret)
			ret = output_commit(o, NULL);
		restore();
		pthread_join(thread, NULL);
		close(fds[0]);
		assert_int_equal(ret, 0);
		assert_int_equal(d.bytes, SIZE);
		assert_int_equal(d.sum, sum);
	}
	free(data);
}

static void reader_went_away(void **state)
{
	struct iovec iov = { (void *)"x", 1 };
	struct vma_error err = { "" };
	struct output *o = NULL;
	int fds[2], ret;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	redirect(fds[1]);
	close(fds[0]);
	close(fds[1]);
	ret = output_open(&o, "-", &err);
	if (!ret)
		ret = output_write(o, &iov, 1, &err);
	restore();
	output_abort(o);
	assert_int_equal(ret, -EPIPE);
	assert_non_null(strstr(err.text, "reader went away"));
}

static void no_terminals(void **state)
{
	struct vma_error err = { "" };
	struct output *o = NULL;
	int main_fd = posix_openpt(O_RDWR | O_NOCTTY), fd, ret;

	(void)state;
	if (main_fd < 0)
		skip();
	assert_int_equal(grantpt(main_fd), 0);
	assert_int_equal(unlockpt(main_fd), 0);
	fd = open(ptsname(main_fd), O_RDWR | O_NOCTTY);
	assert_true(fd >= 0);
	redirect(fd);
	ret = output_open(&o, "-", &err);
	restore();
	close(fd);
	close(main_fd);
	assert_int_equal(ret, -EINVAL);
	assert_non_null(strstr(err.text, "terminal"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(no_space),
		test(pipes),
		test(reader_went_away),
		test(no_terminals),
	};

	return cmocka_run_group_tests_name("output-stdout", tests, NULL, NULL);
}
