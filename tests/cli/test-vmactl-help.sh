#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Help, the version, and what a wrong command line gets: exit status 2 and a pointer to help.
. "$(dirname "$0")/lib.sh"
plan 38

vmactl 0 "--help" --help
for command in backup status list config verify extract; do
	stdout_has "--help names $command" "  $command"
done
stdout_has "--help tells the exit codes" "3 the archive is damaged"
vmactl 0 "help without a command" help
stdout_has "is the same" "Usage: vmactl COMMAND"
vmactl 0 "help of a command" help extract
stdout_has "tells its arguments" "extract ARCHIVE DIR"
vmactl 0 "--help of a command" extract --help
stdout_has "tells its arguments as well" "extract ARCHIVE DIR"
vmactl 0 "--help after other arguments" verify archive -v --help
stdout_has "is help all the same" "Usage: vmactl verify"
vmactl 0 "--version" --version
check "is one line" grep -qx 'vmactl [0-9.]*' "$OUT"

# The manual's synopsis of the command has the options of its own help.
in_synopsis() {
	local man option

	man=$(sed -n '/^\.SH SYNOPSIS/,/^\.SH DESCRIPTION/p' "$CLI_DIR/../../Documentation/vmactl.8" |
		sed 's/\\//g' | awk -v c="$1" '/^\.B vmactl / { is = $3 == c } is')
	"$VMACTL" help "$1" >"$OUT"
	while read -r option; do
		grep -qwF -e "$option" <<<"$man" || {
			echo "# $option"
			return 1
		}
	done < <(sed -n '/^Usage/,/^$/p' "$OUT" | grep -oE '(^|[[ |])--?[a-z][a-z-]*' |
		tr -d '[ |' || :)
}
for command in backup status create list config verify extract info index cat; do
	check "the synopsis of $command is complete" in_synopsis $command
done

status=0
"$VMACTL" >"$OUT" 2>"$ERR" || status=$?
check "no command at all fails" test "$status" -eq 2
stderr_has "with the usage" "Usage: vmactl COMMAND"
status=0
"$VMACTL" frobnicate >"$OUT" 2>"$ERR" || status=$?
check "an unknown command fails" test "$status" -eq 2
stderr_has "by its name" '"frobnicate"'
vmactl 2 "list without an archive" list
vmactl 2 "list with two archives" list a b
vmactl 2 "an unknown option" list --nonsense a
stderr_has "is named" "--nonsense"
vmactl 2 "an option without its argument" config a -c

# Or two that write to one log would mingle.
check "a message is written in one piece" python3 - "$VMACTL" <<-'END'
	import socket, subprocess, sys
	ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
	subprocess.run([sys.argv[1], "list", "/nonexistent\n"], stderr=theirs)
	theirs.close()
	message = ours.recv(65536)
	assert message.startswith(b"vmactl: /nonexistent\\x0a: ") and message.endswith(b"\n"), message
	assert ours.recv(65536) == b""
END
