# shellcheck shell=bash
# SPDX-License-Identifier: GPL-2.0-or-later
# What a debug kernel knows beyond its log: leaked memory, lines that ran.
# Sourced by guest-tests; on a stock kernel all of it does nothing.

LEAKS=/sys/kernel/debug/kmemleak
GCOV=/sys/kernel/debug/gcov
# kmemleak reports nothing that is younger than 5 s, and nothing that one scan
# alone has seen.
LEAK_AGE=5.2

leaks_can_be_found() {
	[ -w $LEAKS ]
}

# Forgets what the kernel itself leaked while it booted.
leaks_begin() {
	! leaks_can_be_found || echo clear >$LEAKS
}

# Prints what is leaked. Two scans of 8 s each, emulated.
leaks_find() {
	leaks_can_be_found || return 0
	echo scan >$LEAKS
	sleep $LEAK_AGE
	echo scan >$LEAKS
	cat $LEAKS
	echo clear >$LEAKS
}

# Counters of the module under test, if it was built with them; those of an
# unloaded one are still there, and of all that were loaded so far.
coverage_save() {
	local from file

	[ -d $GCOV ] || return 0
	while IFS= read -r from; do
		file=/results/gcov${from#"$GCOV"}
		mkdir -p "${file%/*}"
		# Not cp: files of debugfs claim to be empty.
		cat "$from" >"$file.new" && mv "$file.new" "$file"
	done < <(find $GCOV -name '*.gcda')
}
