#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A terminal that was stopped, or a log that takes no more, costs a backup its progress lines,
# and nothing else: it does not wait for them, and so no guest does.
# needs: disks=2x64M
. "$BED_TOP/tests/vm/lib.sh"
plan 9

load_target
disk_fill /dev/vda 1
vmabackup_on d0 /dev/vda
backup=("$VMACTL" backup --disk a=/dev/mapper/d0 --progress)
# Seconds until one that waits is given up.
PATIENCE=60

# same ARCHIVE: holds what the disk does.
same() {
	"$VMACTL" cat "$1" --disk a | cmp - /dev/vda
}

# --- a pipe ---
mkfifo "$WORK/pipe"
exec 8<>"$WORK/pipe"
head -c 2M /dev/zero | dd of=/dev/fd/8 bs=4096 oflag=nonblock status=none 2>/dev/null || true
into_full_pipe() {
	timeout -k 1 $PATIENCE "${backup[@]}" --output "$WORK/pipe.vma" 2>&8
}
check "a pipe that is full" into_full_pipe
check "the archive is whole" same "$WORK/pipe.vma"
exec 8<&-

# --- a terminal, and a socket, as a service's log is ---
# into_full WHAT ARCHIVE
into_full() {
	python3 - "$1" $PATIENCE "${backup[@]}" --output "$2" <<-'END'
		import os, socket, subprocess, sys
		if sys.argv[1] == "terminal":
		    reader, log = os.openpty()
		else:
		    reader, log = (s.detach() for s in socket.socketpair())
		os.set_blocking(log, False)
		try:
		    while os.write(log, b"x" * 64):
		        pass
		except BlockingIOError:
		    pass
		os.set_blocking(log, True)
		backup = subprocess.Popen(sys.argv[3:], stderr=log)
		try:
		    sys.exit(backup.wait(int(sys.argv[2])))
		finally:
		    backup.kill()
	END
}
for what in terminal socket; do
	check "a $what that takes no more" into_full $what "$WORK/$what.vma"
	check "the archive is whole" same "$WORK/$what.vma"
done

# --- a file ---
echo "what was there" >"$WORK/log"
"${backup[@]}" --output "$WORK/file.vma" 2>>"$WORK/log" >&2
in_order() {
	[ "$(head -n 1 "$WORK/log")" = "what was there" ] &&
		grep -q '100% of 64.0 MiB' "$WORK/log" && tail -n 1 "$WORK/log" | grep -q suspended
}
check "a log has the lines in their order" in_order

# --- a terminal that stops whoever writes to it from the background ---
into_tostop() {
	timeout -k 1 $PATIENCE python3 - "${backup[@]}" --output "$1" <<-'END'
		import os, pty, sys, termios
		shell, terminal = pty.fork()
		if not shell:
		    mode = termios.tcgetattr(2)
		    mode[3] |= termios.TOSTOP
		    termios.tcsetattr(2, termios.TCSANOW, mode)
		    job = os.fork()
		    if not job:
		        os.setpgid(0, 0)
		        os.execv(sys.argv[1], sys.argv[1:])
		    status = os.waitpid(job, os.WUNTRACED)[1]
		    if os.WIFSTOPPED(status):
		        os.kill(job, 9)
		        os._exit(99)
		    os._exit(os.waitstatus_to_exitcode(status))
		try:
		    while os.read(terminal, 4096):
		        pass
		except OSError:
		    pass
		sys.exit(os.waitstatus_to_exitcode(os.waitpid(shell, 0)[1]))
	END
}
check "a terminal with tostop" into_tostop "$WORK/tostop.vma"
check "the archive is whole" same "$WORK/tostop.vma"
