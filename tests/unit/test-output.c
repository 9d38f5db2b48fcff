// SPDX-License-Identifier: GPL-2.0-or-later
/* output: names, leftovers, and what is written to files. */
#include "output-directory.h"

/* Not from the code under test: it is what administrators see. */
static void temporary_path(char *to, size_t size, int pid)
{
	char host[65] = "";

	assert_int_equal(gethostname(host, sizeof(host) - 1), 0);
	snprintf(to, size, "%s.tmp-%s-%d", path, host, pid);
}

static void a_name_only_at_the_end(void **state)
{
	char temporary[sizeof(path) + 96];
	struct output *o;
	struct stat st;

	(void)state;
	temporary_path(temporary, sizeof(temporary), (int)getpid());
	assert_int_equal(output_open(&o, path, NULL), 0);
	assert_true(output_fd(o) >= 0);
	write_text(o, "hello ");
	write_text(o, "world");
	assert_int_equal(output_bytes(o), 11);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(stat(temporary, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(output_commit(o, NULL), 0);
	assert_int_equal(entries(), 1);
	check_content(path, "hello world");
}

static void abort_leaves_nothing(void **state)
{
	struct output *o;

	(void)state;
	output_abort(NULL);
	assert_int_equal(output_open(&o, path, NULL), 0);
	write_text(o, "hello");
	output_abort(o);
	assert_int_equal(entries(), 0);
}

static void make_file(const char *name, const char *text)
{
	FILE *f = fopen(name, "w");

	assert_non_null(f);
	fputs(text, f);
	assert_int_equal(fclose(f), 0);
}

/* What was complete when its name was gone: all of it, under a name that no sweep takes. */
static void check_unnamed(const struct vma_error *err, const char *want)
{
	char unnamed[sizeof(path) + 32];

	snprintf(unnamed, sizeof(unnamed), "%s.unnamed-%d", path, (int)getpid());
	assert_non_null(strstr(err->text, path));
	assert_non_null(strstr(err->text, strrchr(unnamed, '/') + 1));
	assert_int_equal(entries(), 2);
	assert_int_equal(output_sweep(path), 0);
	check_content(unnamed, want);
	assert_int_equal(unlink(unnamed), 0);
}

static void nothing_is_replaced(void **state)
{
	struct vma_error err = { "" };
	struct output *o;

	(void)state;
	make_file(path, "precious");
	refuse_open(path, -EEXIST, path);
	assert_int_equal(unlink(path), 0);

	/* Also not what appears meanwhile. */
	assert_int_equal(output_open(&o, path, NULL), 0);
	write_text(o, "hello");
	make_file(path, "precious");
	assert_int_equal(output_commit(o, &err), -EEXIST);
	check_unnamed(&err, "hello");
	check_content(path, "precious");

	/* A symbolic link to nowhere is something, too. */
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("nowhere", path), 0);
	refuse_open(path, -EEXIST, path);
}

/* In place of the C library's, to be a file system that can't do it. */
static int renameat2_error, linkat_error, renameat_error;

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned int flags)
{
	if (renameat2_error) {
		errno = renameat2_error;
		return -1;
	}
	return syscall(SYS_renameat2, from_dir, from, to_dir, to, flags);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	if (linkat_error) {
		errno = linkat_error;
		return -1;
	}
	return syscall(SYS_linkat, from_dir, from, to_dir, to, flags);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	if (renameat_error) {
		errno = renameat_error;
		return -1;
	}
	return syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
}

/* Where those fail: commits "hello", while "precious" has its name if so wanted. */
static int commit(int no_renameat2, int no_linkat, int no_renameat, bool precious,
		  struct vma_error *err)
{
	struct output *o;
	int ret;

	assert_int_equal(output_open(&o, path, NULL), 0);
	write_text(o, "hello");
	if (precious)
		make_file(path, "precious");
	renameat2_error = no_renameat2;
	linkat_error = no_linkat;
	renameat_error = no_renameat;
	ret = output_commit(o, err);
	renameat2_error = linkat_error = renameat_error = 0;
	return ret;
}

static void poor_file_systems(void **state)
{
	static const int no_links[] = { 0, EPERM, ENOSYS, EOPNOTSUPP, EMLINK };
	struct vma_error err = { "" };
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(no_links) / sizeof(no_links[0]); i++) {
		assert_int_equal(commit(i % 2 ? EINVAL : ENOSYS, no_links[i], 0, false, &err), 0);
		assert_int_equal(entries(), 1);
		check_content(path, "hello");
		assert_int_equal(unlink(path), 0);

		assert_int_equal(commit(EINVAL, no_links[i], 0, true, &err), -EEXIST);
		check_unnamed(&err, "hello");
		check_content(path, "precious");
		assert_int_equal(unlink(path), 0);
	}
}

static pid_t dead_process(void)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (!pid)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return pid;
}

/* Called so, or as we are. */
static pid_t live_process(const char *name)
{
	int ends[2];
	pid_t pid;
	char byte;

	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		if (name)
			prctl(PR_SET_NAME, name);
		if (write(ends[1], "", 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	assert_int_equal(read(ends[0], &byte, 1), 1);
	close(ends[0]);
	close(ends[1]);
	return pid;
}

static void end_process(pid_t pid)
{
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* Nothing gives it any name: it keeps the one it has, also from the next backup's sweep. */
static void no_name_at_all(void **state)
{
	char temporary[sizeof(path) + 96], dead[sizeof(path) + 96];
	struct vma_error err = { "" };

	(void)state;
	temporary_path(temporary, sizeof(temporary), (int)getpid());
	assert_int_equal(commit(EINVAL, EPERM, EIO, false, &err), -EIO);
	assert_non_null(strstr(err.text, strrchr(temporary, '/') + 1));
	assert_int_equal(entries(), 1);
	check_content(temporary, "hello");
	/* As it is once its writer has ended. */
	temporary_path(dead, sizeof(dead), dead_process());
	assert_int_equal(rename(temporary, dead), 0);
	assert_int_equal(output_sweep(path), 0);
	check_content(dead, "hello");
	assert_int_equal(chmod(dead, 0600), 0);
	assert_int_equal(output_sweep(path), 1);
	assert_int_equal(entries(), 0);
}

/* Somebody who tidied up took it: that it is complete helps nobody. */
static void removed_meanwhile(void **state)
{
	char temporary[sizeof(path) + 96];
	struct vma_error err = { "" };
	struct output *o;

	(void)state;
	temporary_path(temporary, sizeof(temporary), (int)getpid());
	assert_int_equal(output_open(&o, path, NULL), 0);
	write_text(o, "hello");
	assert_int_equal(unlink(temporary), 0);
	assert_int_equal(output_commit(o, &err), -ENOENT);
	assert_non_null(strstr(err.text, "lost"));
	assert_null(strstr(err.text, "complete"));
	assert_int_equal(entries(), 0);
}

/* In place of the C library's: what files say, and what other things say. */
static int fsync_file_error, fsync_other_error;

int fsync(int fd)
{
	struct stat st;
	int error;

	assert_int_equal(fstat(fd, &st), 0);
	error = S_ISREG(st.st_mode) ? fsync_file_error : fsync_other_error;
	if (error) {
		errno = error;
		return -1;
	}
	return (int)syscall(SYS_fsync, fd);
}

/* A file that was not kept is no archive, whatever the error is called; a directory may be so. */
static void flushing(void **state)
{
	static const int errors[] = { EINVAL, EROFS, EIO, ENOSPC };
	struct vma_error err = { "" };
	struct output *o;

	(void)state;
	for (unsigned int i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
		assert_int_equal(output_open(&o, path, NULL), 0);
		write_text(o, "hello");
		fsync_file_error = errors[i];
		assert_int_equal(output_commit(o, &err), -errors[i]);
		fsync_file_error = 0;
		assert_int_equal(entries(), 0);
	}
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(output_open(&o, path, NULL), 0);
		write_text(o, "hello");
		fsync_other_error = errors[i];
		assert_int_equal(output_commit(o, &err), 0);
		fsync_other_error = 0;
		check_content(path, "hello");
		assert_int_equal(unlink(path), 0);
	}
}

/* In place of the C library's: it was one when it was looked at. */
static bool fifo_before;

int stat(const char *name, struct stat *st)
{
	int ret = fstatat(AT_FDCWD, name, st, 0);

	if (!ret && fifo_before)
		st->st_mode = (st->st_mode & ~S_IFMT) | S_IFIFO;
	return ret;
}

static void fifo_that_was_replaced(void **state)
{
	struct vma_error err = { "" };
	struct output *o;

	(void)state;
	make_file(path, "precious");
	fifo_before = true;
	assert_int_equal(output_open_stream(&o, path, &err), -EINVAL);
	fifo_before = false;
	assert_non_null(strstr(err.text, path));
	check_content(path, "precious");
}

static void leftovers_of_others_stay(void **state)
{
	char temporary[sizeof(path) + 96];

	(void)state;
	temporary_path(temporary, sizeof(temporary), (int)getpid());
	make_file(temporary, "someone's");
	refuse_open(path, -EEXIST, "left over");
	check_content(temporary, "someone's");
	assert_int_equal(unlink(temporary), 0);
}

static void the_killed_are_swept(void **state)
{
	char dead[sizeof(path) + 96], alive[sizeof(path) + 96], other[sizeof(path) + 96];
	char locked[sizeof(path) + 96];
	pid_t child = live_process(NULL);
	struct output *o;
	int fd;

	(void)state;
	temporary_path(dead, sizeof(dead), dead_process());
	temporary_path(alive, sizeof(alive), (int)child);
	temporary_path(locked, sizeof(locked), dead_process());
	snprintf(other, sizeof(other), "%s.tmp-another.host-%d", path, dead_process());
	make_file(dead, "half");
	make_file(alive, "half");
	make_file(locked, "half");
	make_file(other, "half");
	fd = open(locked, O_RDWR);
	assert_int_equal(flock(fd, LOCK_EX), 0);

	assert_int_equal(output_open(&o, path, NULL), 0);
	assert_int_equal(output_sweep(path), 1);
	assert_int_equal(access(dead, F_OK), -1);
	/* One's own is not swept either. */
	assert_int_equal(output_sweep(path), 0);
	output_abort(o);
	assert_int_equal(entries(), 3);
	assert_int_equal(output_sweep("-"), 0);
	close(fd);
	assert_int_equal(unlink(alive), 0);
	assert_int_equal(unlink(locked), 0);
	assert_int_equal(unlink(other), 0);
	end_process(child);
}

/* The machine was booted since: another program has the number, or we have. */
static void a_number_that_is_used_again(void **state)
{
	char others[sizeof(path) + 96], own[sizeof(path) + 96];
	pid_t child = live_process("another");

	(void)state;
	temporary_path(others, sizeof(others), (int)child);
	temporary_path(own, sizeof(own), (int)getpid());
	make_file(others, "half");
	make_file(own, "half");
	assert_int_equal(output_sweep(path), 2);
	assert_int_equal(entries(), 0);
	end_process(child);
}

static void bad_paths(void **state)
{
	char name[400];

	(void)state;
	snprintf(name, sizeof(name), "%s/none/archive.vma", dir);
	refuse_open(name, -ENOENT, name);
	snprintf(name, sizeof(name), "%s/", dir);
	refuse_open(name, -EISDIR, name);
	refuse_open("", -EISDIR, "directory");
	refuse_open("..", -EISDIR, "directory");
	refuse_open("/dev/no-such-disk", -EINVAL, "/dev/no-such-disk");
	snprintf(name, sizeof(name), "%s/%0300d", dir, 1);
	refuse_open(name, -ENAMETOOLONG, "cannot create");
}

static void relative_paths(void **state)
{
	struct output *o;
	int here = open(".", O_RDONLY | O_DIRECTORY);

	(void)state;
	assert_true(here >= 0);
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(output_open(&o, "archive.vma", NULL), 0);
	/* Where it was opened counts, not where the process is in the end. */
	assert_int_equal(fchdir(here), 0);
	close(here);
	write_text(o, "here");
	assert_int_equal(output_commit(o, NULL), 0);
	check_content(path, "here");
}

/* More pieces than one system call takes, empty ones among them. */
static void many_pieces(void **state)
{
	enum { NR = 5000 };
	static struct iovec iov[NR];
	uint8_t *data = malloc(NR), *back = malloc(NR);
	size_t total = 0;
	struct output *o;
	FILE *f;

	(void)state;
	for (int i = 0; i < NR; i++)
		data[i] = i * 7;
	for (int i = 0; i < NR; i++) {
		iov[i].iov_base = data + total;
		iov[i].iov_len = i % 3 == 1 && total < NR - 2 ? 2 : 0;
		total += iov[i].iov_len;
	}
	assert_int_equal(output_open(&o, path, NULL), 0);
	assert_int_equal(output_write(o, iov, NR, NULL), 0);
	assert_int_equal(output_bytes(o), total);
	assert_int_equal(output_commit(o, NULL), 0);
	f = fopen(path, "r");
	assert_non_null(f);
	assert_int_equal(fread(back, 1, NR, f), total);
	fclose(f);
	assert_memory_equal(back, data, total);
	free(data);
	free(back);
}

static void limit_file_size(rlim_t bytes)
{
	struct rlimit limit = { bytes, RLIM_INFINITY };

	assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* A write that is cut short, and then fails: the message says where. */
static void file_too_large(void **state)
{
	static uint8_t data[10000];
	struct iovec iov[] = { { data, 3000 }, { data, 7000 } };
	struct vma_error err = { "" };
	struct output *o;
	int ret;

	(void)state;
	assert_int_equal(output_open(&o, path, NULL), 0);
	limit_file_size(4096);
	ret = output_write(o, iov, 2, &err);
	limit_file_size(RLIM_INFINITY);
	assert_int_equal(ret, -EFBIG);
	assert_non_null(strstr(err.text, path));
	assert_int_equal(output_bytes(o), 4096);
	output_abort(o);
	assert_int_equal(entries(), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_name_only_at_the_end),
		test(abort_leaves_nothing),
		test(nothing_is_replaced),
		test(poor_file_systems),
		test(no_name_at_all),
		test(removed_meanwhile),
		test(flushing),
		test(fifo_that_was_replaced),
		test(leftovers_of_others_stay),
		test(the_killed_are_swept),
		test(a_number_that_is_used_again),
		test(bad_paths),
		test(relative_paths),
		test(many_pieces),
		test(file_too_large),
	};

	return cmocka_run_group_tests_name("output", tests, NULL, NULL);
}
