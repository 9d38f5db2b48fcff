#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Bios that are no longer held do not wait for one another: neither a write, nor a write that
# ends with an error, stands behind discards that the origin takes one by one; nor does a write
# that bypasses the page cache stand behind writeback, of which the kernel lets as few through.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
. "$BED_TOP/tests/vm/lib-fleece.sh"
plan 11

# Discards of a chunk each, and what each request takes: much longer together than starting a
# program does. With 0.3 s each, 24 had ended on a busy machine when the write was looked at.
NUMBER=40
NS=$((500000000 * ${BED_SLOWNESS:-1}))
# Chunks that are forgotten at a word, where the discards are; one behind them, for the write.
FORGOTTEN=200
BEHIND=210

load_target
one_by_one origin 16 1 discard=1 completion_nsec=$NS
# In the order in which they come. mq-deadline puts up to 16 discards that follow one another
# before a write elsewhere, unless the write is overdue. Where requests are few, as with none,
# who comes with the next discard may take the one that is free before the writer is awake,
# again and again; of these, mq-deadline lets writes have three quarters.
queue=/sys/block/nullb_origin/queue
echo mq-deadline >$queue/scheduler
echo 1 >$queue/iosched/write_expire
echo 1 >$queue/iosched/fifo_batch
echo 16 >$queue/nr_requests
disk d /dev/nullb_origin 2 on_cbw_error break-guest-write
d=/dev/mapper/d
dev=$(dmsetup info -c --noheadings -o major,minor --separator : d)
# One request of burst's becomes so many, which nothing merges again.
for limits in $queue "/sys/dev/block/$dev/queue"; do
	echo $CHUNK >"$limits/discard_max_bytes"
done

# origin_ended FIELD: I/Os of that kind that the origin has ended; 11 are discards, 4 writes.
origin_ended() {
	local stat

	read -ra stat </sys/block/nullb_origin/stat
	echo "${stat[$1]}"
}

# The end of a session waits for all that leaves: it is not waited for before this is known.
# before_the_write FIELD: how many of the others have ended when the write has; or soon after,
# for one who looks now and then.
before_the_write() {
	wait_for 100 burst_ended write
	origin_ended "$1"
}

# let_go FIELD: the write, which waits for nothing but a slot, may go as well. Sets began to
# how many have ended by then, and left to how many of NUMBER are still to end.
let_go() {
	began=$(origin_ended "$1")
	left=$((NUMBER - began + before))
	kill "$hold_pid"
}

# discards_leave [OPTION...]: a write that finds no slot, behind FORGOTTEN, and NUMBER discards;
# these leave when all that they wait for is forgotten.
discards_leave() {
	rm -f "$WORK/go"
	hold --slots 2 --reserve 1 --go-file "$WORK/go" --forget-armed $FORGOTTEN "$@" $d
	"$BURST" write $d 1 $((220 * CHUNK)) 4096 2 $CHUNK >/dev/null
	burst_start write write $d 2 $((BEHIND * CHUNK)) 4096
	burst_start discards discard $d 0 0 $((NUMBER * CHUNK))
	wait_for 10 held_now d $((NUMBER + 1))
	before=$(origin_ended 11)
	touch "$WORK/go"
	wait_for 10 held_now d 1
}

discards_leave --timeout-ms 600000
check "the write waits" held_now d 1
let_go 11
n=$(($(before_the_write 11) - began))
release_hold
wait_for 100 burst_ended discards
check_eq "all has ended well" "$(errors write) $(errors discards)" "1 0 1 0"
diag "$n of the $left discards left had ended when the write did"
check "a write is not behind the discards" test "$n" -lt $((left * 3 / 4))

# Time for the discards to be on their way, and not for all of them.
discards_leave --timeout-ms $((NS * NUMBER / 2 / 1000000))
n=$(($(before_the_write 11) - before))
wait_for 100 burst_ended discards
check_eq "a write that waited too long fails" "$(errors write)" "1 EIO"
check_eq "the discards do not" "$(errors discards)" "1 0"
diag "$n of $NUMBER discards had ended when the write failed"
check "it is told before they have ended" test "$n" -lt $NUMBER
check_eq "none was dropped" "$(field d dropped)" 0
check_eq "the session lives" "$(field d vmabackup) $(reason d)" "armed none 0 -"
release_hold

# --- writeback ---
check "the kernel holds back writeback there" test "$(cat $queue/wbt_lat_usec)" -gt 0
# A page of each chunk, by way of the page cache; nobody waits for them.
writeback() {
	python3 - $d $NUMBER $CHUNK <<-'END'
		import os, sys
		fd = os.open(sys.argv[1], os.O_WRONLY)
		for i in range(int(sys.argv[2])):
		    os.pwrite(fd, b"x" * 4096, i * int(sys.argv[3]))
		os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
	END
}
rm -f "$WORK/go"
hold --slots 2 --reserve 1 --go-file "$WORK/go" --forget-armed $FORGOTTEN --timeout-ms 600000 $d
"$BURST" write $d 1 $((220 * CHUNK)) 4096 2 $CHUNK >/dev/null
burst_start write write $d 2 $((BEHIND * CHUNK)) 4096
writeback &
pages=$!
wait_for 10 held_now d $((NUMBER + 1))
before=$(origin_ended 4)
touch "$WORK/go"
wait_for 10 held_now d 1
let_go 4
# Without the one that is waited for.
n=$(($(before_the_write 4) - began - 1))
release_hold
wait $pages
diag "$n of the $left pages left had been written when the write ended"
check_eq "it has ended well" "$(errors write)" "1 0"
check "a write is not behind writeback" test "$n" -lt $((left * 3 / 4))
