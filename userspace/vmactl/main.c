// SPDX-License-Identifier: GPL-2.0-or-later
/* The command table, help, and the two ways to complain. */
#include "vmactl/vmactl.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define VERSION		"0.1.0"

static const struct command *const commands[] = {
	&cmd_backup, &cmd_status, &cmd_create, &cmd_list, &cmd_config, &cmd_verify, &cmd_extract,
	&cmd_info, &cmd_index, &cmd_cat,
};

#define NR_COMMANDS	(sizeof(commands) / sizeof(commands[0]))

/*
 * Called as "vma", it is the tool of that name for those who call it: only what that
 * has, and under its name. What each command takes and prints is the same.
 */
static const struct command *const vma_commands[] = {
	&cmd_list, &cmd_config, &cmd_create, &cmd_extract, &cmd_verify,
};

static const char *program = "vmactl";
static const struct command *const *table = commands;
static size_t nr_commands = NR_COMMANDS;

static void take_name(const char *name)
{
	const char *slash = name ? strrchr(name, '/') : NULL;

	if (!name || strcmp(slash ? slash + 1 : name, "vma") != 0)
		return;
	program = "vma";
	table = vma_commands;
	nr_commands = sizeof(vma_commands) / sizeof(vma_commands[0]);
}

#define MAX_TEXT	8192	/* bytes of a message, with the zero; what is longer is cut */
#define MAX_PREFIX	64

/*
 * One line, whatever is in it: paths and messages may hold control characters. In one piece,
 * for others may write to the same place.
 */
static void print_line(const char *prefix, const char *text)
{
	/* Each byte may become four. */
	char line[MAX_PREFIX + 4 * MAX_TEXT];
	size_t n = (size_t)snprintf(line, MAX_PREFIX, "%s", prefix);

	for (; *text; text++) {
		unsigned char c = *text;

		if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(line + n, sizeof(line) - n, "\\x%02x", c);
		else
			line[n++] = (char)c;
	}
	line[n++] = '\n';
	fwrite(line, 1, n, stderr);
}

void complain(const char *fmt, ...)
{
	char text[MAX_TEXT], prefix[MAX_PREFIX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(prefix, sizeof(prefix), "%s: ", program);
	print_line(prefix, text);
}

int usage_error(const struct command *cmd, const char *fmt, ...)
{
	char text[MAX_TEXT], prefix[MAX_PREFIX];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	snprintf(prefix, sizeof(prefix), "%s %s: ", program, cmd->name);
	print_line(prefix, text);
	fprintf(stderr, "Try \"%s %s --help\".\n", program, cmd->name);
	return EXIT_USAGE;
}

int option_error(const struct command *cmd, int c, char **argv)
{
	const char *arg = argv[optind - 1];

	if (c == ':')
		return usage_error(cmd, "%s needs an argument", arg);
	/* Of short options in a row getopt() stops within the argument, and names the letter. */
	if (optopt && strncmp(arg, "--", 2) != 0)
		return usage_error(cmd, "unknown option -%c", optopt);
	return usage_error(cmd, "unknown option %s", arg);
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < nr_commands; i++)
		if (strcmp(table[i]->name, name) == 0)
			return table[i];
	return NULL;
}

static int command_help(const struct command *cmd)
{
	printf("Usage: %s %s %s\n%s\n", program, cmd->name, cmd->usage, cmd->help);
	return EXIT_OK;
}

static void general_help(FILE *to)
{
	fprintf(to, "Usage: %s COMMAND [ARGUMENT]...\n%s\n\n", program,
		table == commands ?
		"Backs up running virtual machines into VMA archives, and reads such archives." :
		"Reads and writes VMA archives: the commands of vmactl under another name.");
	for (size_t i = 0; i < nr_commands; i++)
		fprintf(to, "  %-10s%s\n", table[i]->name, table[i]->help);
	fprintf(to, "\n\"%s help COMMAND\" tells more about one of them, \"%s --version\" the version.\n",
		program, program);
	fputs("Exit codes: 0 done; 1 failed; 2 bad command line; 3 the archive is damaged or\n"
	      "incomplete; 4 the instant of the backup was lost; 5 interrupted by a signal;\n"
	      "6 a part of a damaged archive was salvaged.\n",
	      to);
}

static int unknown_command(const char *name)
{
	complain("there is no command \"%s\"; \"%s --help\" lists them", name, program);
	return EXIT_USAGE;
}

static int help(const char *name)
{
	const struct command *cmd;

	if (!name) {
		general_help(stdout);
		return EXIT_OK;
	}
	cmd = find_command(name);
	return cmd ? command_help(cmd) : unknown_command(name);
}

static bool wants_help(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--help") == 0)
			return true;
	return false;
}

static int run(int argc, char **argv)
{
	const struct command *cmd;

	if (argc < 2) {
		general_help(stderr);
		return EXIT_USAGE;
	}
	if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)
		return help(NULL);
	if (strcmp(argv[1], "help") == 0)
		return help(argv[2]);
	if (strcmp(argv[1], "--version") == 0) {
		printf("%s " VERSION "\n", program);
		return EXIT_OK;
	}
	cmd = find_command(argv[1]);
	if (!cmd)
		return unknown_command(argv[1]);
	if (wants_help(argc - 1, argv + 1))
		return command_help(cmd);
	return cmd->run(argc - 1, argv + 1);
}

/*
 * Or a disk that is opened could become standard error, and be written to as that. What was
 * closed is opened the wrong way round, so that using it fails: an archive for a standard
 * output that is not there would be gone, and all would seem well.
 */
static bool fill_standard_files(void)
{
	static const int modes[] = {
		[STDIN_FILENO] = O_WRONLY,
		[STDOUT_FILENO] = O_RDONLY,
		[STDERR_FILENO] = O_WRONLY,
	};
	int fd;

	for (fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", modes[fd]) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	int code;

	if (!fill_standard_files())
		return EXIT_FAILED;
	take_name(argv[0]);
	/* A reader that went away and a file that may not grow are errors, not deaths. */
	signal(SIGPIPE, SIG_IGN);
	signal(SIGXFSZ, SIG_IGN);
	code = run(argc, argv);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		complain("cannot write standard output: %s", strerror(errno));
		if (code == EXIT_OK)
			code = EXIT_FAILED;
	}
	return code;
}
