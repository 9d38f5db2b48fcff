#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# vmabackup-freeze, the script that the documentation gives: views of several
# disks are of one instant under load, whatever is wrong is said before
# anything is suspended, and a script that is killed leaves no disk suspended.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
plan 40

size=49152
load_target
memory_disk fleece0 32M
memory_disk fleece1 32M
# shellcheck disable=SC2154 # memory_disk sets them
dm_create d0 "0 $size vmabackup /dev/vda 2 fleece $fleece0"
# shellcheck disable=SC2154
dm_create d1 "0 $size vmabackup /dev/vdb 4 fleece $fleece1 chunk_size 512"
at_exit "dmsetup resume d0; dmsetup resume d1"
at_exit "drop_view d0-view; drop_view d1-view"
running() {
	[ "$(dmsetup info -c --noheadings -o suspended "$@" | sort -u)" = Active ]
}
# Everything as if it had never been called.
untouched() {
	running d0 d1 && state_is d0 idle && state_is d1 idle &&
		[ ! -e /dev/mapper/d0-view ] && [ ! -e /dev/mapper/d1-view ]
}

check_status 2 "no disk" "$FREEZE"
check "--help" "$FREEZE" --help
check_out "says how it is used" 'usage: vmabackup-freeze'
check_status 1 "a disk that is not there" "$FREEZE" d0 nobody
check_out "is named" 'vmabackup-freeze: nobody: '
dm_create other "0 $size linear /dev/vda 0"
check_status 1 "a disk that is not ours" "$FREEZE" d0 other
check_out "is named" 'other: has no vmabackup target'
dm_create bare "0 2048 vmabackup /dev/vda"
check_status 1 "a disk without a fleece device" "$FREEZE" d0 bare
check_out "is named, and what to do" "bare: has no fleece device; load a table with 'fleece DEVICE'"
dmsetup create d1-view --table "0 8 zero"
check_status 1 "a view's name is taken" "$FREEZE" d0 d1
check_out "it is named" 'd1-view: exists already'
dmsetup remove d1-view
check "nothing was touched" untouched

"$TOOLS/guestload" --seed 8 --fill-percent 70 --threads 6 --stop-file "$WORK/stop" \
	--ready-file "$WORK/ready" --deadline 100 --verify --log "$WORK/log" \
	/dev/mapper/d0 /dev/mapper/d1 >"$WORK/load" 2>&1 &
load=$!
wait_for_file 100 "$load" "$WORK/ready"
sleep 1
# Seconds: a machine may be slow, and the watchdog's 20 are for hosts.
PATIENCE=100
check "two disks under load" "$FREEZE" --watchdog $PATIENCE d0 /dev/mapper/d1
check "run on" running d0 d1
check_status 1 "again" "$FREEZE" d0 d1
check_out "says that they are frozen" 'd0: is in a backup, frozen or prepared already'
sleep 2
touch "$WORK/stop"
check_wait "the guests lost nothing" "$load"
check "the views are of one instant" "$TOOLS/guestload" check --log "$WORK/log" \
	/dev/mapper/d0-view /dev/mapper/d1-view
check "guests wrote meanwhile" test "$(status_number d0 spilled)" -gt 0 -a "$(status_number d1 spilled)" -gt 0
check "released" "$FREEZE" --release d0 d1
check "nothing is left" untouched
check "releasing what is not frozen does nothing" "$FREEZE" --release d0 d1

# The second view can't be made: the first one goes, too.  A view's parent that takes no
# view: the wrapper of dmsetup fails once.
mkdir "$WORK/bin"
cat >"$WORK/bin/dmsetup" <<'SH'
#!/bin/bash
[ "$1 $2 $DMSETUP_FAIL" != "create d1-view -" ] || exit 1
[ "$*" != "message $DMSETUP_FAIL" ] || exit 1
[ "$*" != "$DMSETUP_KILL" ] || { kill -9 $PPID; exit 1; }
exec /sbin/dmsetup "$@"
SH
chmod +x "$WORK/bin/dmsetup"
check_status 1 "a view can't be created" env PATH="$WORK/bin:$PATH" DMSETUP_FAIL=- DMSETUP_KILL=- \
	"$FREEZE" d0 d1
check_out "says so" 'd1-view: can.t be created; nothing is frozen'
check "all is undone" untouched
check_status 1 "a disk can't be prepared" env PATH="$WORK/bin:$PATH" DMSETUP_FAIL="d1 0 prepare" \
	DMSETUP_KILL=- "$FREEZE" d0 d1
check_out "says so" "d1: can't be prepared; nothing is frozen"
check "all is undone" untouched
check_status 1 "a disk can't be armed" env PATH="$WORK/bin:$PATH" DMSETUP_FAIL="d1 0 arm" \
	DMSETUP_KILL=- "$FREEZE" d0 d1
check_out "says so" "d1: can't be armed; nothing is frozen"
check "all is undone" untouched

# Killed while both are suspended.  The watchdog's 4 seconds are up when we say.
cat >"$WORK/bin/sleep" <<'SH'
#!/bin/bash
[ "$1" = 4 ] || exec /bin/sleep "$@"
until [ -e "$WAKE" ]; do /bin/sleep 0.1; done
SH
chmod +x "$WORK/bin/sleep"
at_exit "touch $WORK/wake"
try env WAKE="$WORK/wake" PATH="$WORK/bin:$PATH" DMSETUP_FAIL=- DMSETUP_KILL="message d0 0 arm" \
	"$FREEZE" --watchdog 4 d0 d1
# shellcheck disable=SC2154 # try sets it
check_eq "killed while the disks are suspended" "$status" 137
check_status 1 "they are" running d0 d1
touch "$WORK/wake"
check "the watchdog resumes them" wait_for 60 running d0 d1
check "nothing was armed" state_is d0 member
check_status 1 "again" "$FREEZE" d0 d1
check_out "says that it is prepared" 'd0: is in a backup, frozen or prepared already'
check "released" "$FREEZE" --release d0 d1
check "nothing is left" untouched
watchdog_gone() {
	! pgrep -f '[v]mabackup-freeze-watchdog'
}
check "the watchdog has gone" wait_for 5 watchdog_gone
