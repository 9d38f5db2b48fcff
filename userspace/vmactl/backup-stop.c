// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Being told to stop. SIGINT, SIGTERM and SIGHUP set a flag that the pump looks
 * at, and the backup ends in good order. It can't look while it waits for the
 * reader of a pipe; nothing has to be tidied up then, the session ends with the
 * process, so after STOP_GRACE_S it just exits. A terminal's wish that its background stands
 * still (SIGTTOU) is none of these: guests would.
 */
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "vmactl/backup.h"
#include "vmactl/vmactl.h"

/* Many rounds of the pump, and still not long for who pressed Ctrl-C. */
#define STOP_GRACE_S	3

static const int signals[] = { SIGINT, SIGTERM, SIGHUP };

#define NR_SIGNALS	(sizeof(signals) / sizeof(signals[0]))

volatile sig_atomic_t backup_stop;

static volatile sig_atomic_t to_pipe;
static bool output_is_pipe;

static void on_stop(int signal)
{
	(void)signal;
	/* Once: who asks again and again must not put it off. */
	if (to_pipe && !backup_stop)
		alarm(STOP_GRACE_S);
	backup_stop = 1;
}

static void on_alarm(int signal)
{
	static const char text[] =
		"vmactl: stopped by a signal while standard output took no more\n";

	struct pollfd ready = { .fd = STDERR_FILENO, .events = POLLOUT };
	ssize_t told = 0;

	(void)signal;
	/* Standard error may take no more, either. */
	if (poll(&ready, 1, 0) == 1 && ready.revents & POLLOUT)
		told = write(STDERR_FILENO, text, sizeof(text) - 1);
	(void)told;
	_exit(EXIT_INTERRUPTED);
}

void backup_writes(bool writes)
{
	to_pipe = writes && output_is_pipe;
	if (!to_pipe)
		alarm(0);
	else if (backup_stop)
		alarm(STOP_GRACE_S);
}

/* What is ignored stays so: nohup, and a shell's background jobs. */
static void catch(int signal, const struct sigaction *action)
{
	struct sigaction old;

	if (sigaction(signal, NULL, &old) == 0 && old.sa_handler != SIG_IGN)
		sigaction(signal, action, NULL);
}

void backup_catch_signals(bool pipe)
{
	struct sigaction stop = { .sa_handler = on_stop, .sa_flags = SA_RESTART };
	struct sigaction late = { .sa_handler = on_alarm };
	unsigned int i;

	output_is_pipe = pipe;
	backup_writes(true);
	if (pipe)
		sigaction(SIGALRM, &late, NULL);
	else
		catch(SIGALRM, &stop);
	signal(SIGTTOU, SIG_IGN);
	for (i = 0; i < NR_SIGNALS; i++)
		catch(signals[i], &stop);
}

void backup_leave_signals(void)
{
	static const struct sigaction leave = { .sa_handler = SIG_DFL };
	unsigned int i;

	for (i = 0; i < NR_SIGNALS; i++)
		catch(signals[i], &leave);
	catch(SIGALRM, &leave);
}
