#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The tracepoints tell the whole story of a backup: a claim and an end of each copy, with
# the latency between the two; a release of each held bio, with the wait; breaks with
# their reasons. Their sums are those of the status line.
# needs: disks=2x256M cpus=1 timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 18

use_tracing
# KiB for each processor; a backup of this size leaves a third of it.
BUFFER_KB=6144

# What the trace of a whole backup must look like, given the status line after it.
cat >"$WORK/story.py" <<'END'
import collections, re, sys

trace, dev, status = sys.argv[1:4]
words = status.split()
def word(key, which=1):
    return int(words[words.index(key) + which])
total = int(words[5].split("/")[1])

claims, kinds = {}, collections.Counter()
delivered, copied = collections.Counter(), collections.Counter()
holds = 0
waits, near = [], []
for line in open(trace):
    m = re.match(r".*\s([0-9]+\.[0-9]+): (vmab_[a-z]+): (.*)", line)
    if not m:
        assert line.startswith("#"), line
        continue
    at, event = float(m[1]), m[2]
    f = dict(w.split("=", 1) for w in m[3].split() if "=" in w)
    assert f["dev"] == dev, line
    if event == "vmab_claim":
        chunk = int(f["chunk"])
        assert chunk < total and chunk not in claims, line
        claims[chunk] = at
        kinds[f["for"], f["from"], f["to"]] += 1
    elif event == "vmab_copied":
        chunk = int(f["chunk"])
        took = (at - claims.pop(chunk)) * 1e6
        near.append(abs(took - int(f["latency_us"])) <= 2000 + took / 10)
        assert f["error"] == "0" and f["to"] in ("slot", "fleece"), line
        copied[f["to"]] += 1
        if f["to"] == "slot":
            delivered[chunk] += 1
    elif event == "vmab_hold":
        assert f["op"] == "write" and 0 < int(f["sectors"]), line
        assert int(f["sector"]) + int(f["sectors"]) <= total * 128, line
        holds += 1
    elif event == "vmab_release":
        assert m[3].endswith(" submitted"), line
        waits.append(int(f["waited_us"]))
    else:
        assert False, line

# The clocks are read apart, and a busy machine can stand still in between.
assert sum(near) >= 0.9 * len(near), f"{sum(near)} of {len(near)} latencies are right"
assert not claims, f"{len(claims)} claims without an end"
assert len(delivered) == total and set(delivered.values()) == {1}, "not each chunk once"
assert copied["fleece"] == word("spilled") > 0, copied
assert kinds["guest", "origin", "fleece"] >= word("spilled"), kinds
assert kinds["guest", "origin", "slot"] > 0, kinds
assert kinds["fetch", "origin", "slot"] == word("fetched") > 0, kinds
assert kinds["fetch", "fleece", "slot"] == word("refetched") > 0, kinds
assert holds == len(waits) == word("held", 2) > 0, (holds, len(waits))
assert max(waits) == word("wait_us") and sum(waits) == word("wait_us", 2), max(waits)
print(dict(kinds), dict(copied), f"{holds} holds")
END

load_target
vmabackup_on d0 /dev/vda 2 fleece /dev/vdb
dev=$(dmsetup info -c --noheadings -o major,minor d0)
openssl rand 33554432 | dd of=/dev/vda bs=1M oflag=direct iflag=fullblock status=none

check_eq "the tracepoints are there" "$(cd $TRACING/events/vmabackup && echo vmab_*)" \
	"vmab_break vmab_claim vmab_copied vmab_hold vmab_release"
echo $BUFFER_KB >$TRACING/buffer_size_kb
# The same clock on all processors.
echo mono >$TRACING/trace_clock
echo 1 >$TRACING/events/vmabackup/enable
at_exit "echo 0 >$TRACING/events/vmabackup/enable; echo local >$TRACING/trace_clock"
echo >$TRACING/trace

# While the archive stands still, guest writes take the slots and then the fleece device.
start_backup() {
	"$VMACTL" backup --disk a=/dev/mapper/d0 --output - --policy auto --slots 32 |
		{ read -r _ <"$WORK/go"; cat >/dev/null; }
}
some_spilled() {
	[[ $(dm_status d0) =~ \ spilled\ [1-9] ]]
}
# The archive stands still until the guest has had to make use of the fleece device.
mkfifo "$WORK/go"
start_backup &
backup=$!
wait_for 30 state_is d0 armed
"$BED_BUILD/tests/guestload" --stop-file "$WORK/stop" --threads 4 /dev/mapper/d0 >"$WORK/load" 2>&1 &
load=$!
wait_for 60 some_spilled
echo >"$WORK/go"
sleep 1
touch "$WORK/stop"
check_wait "a guest writes meanwhile" $load
check_wait "a backup" $backup
cp $TRACING/trace "$WORK/trace"
lost() {
	cat $TRACING/per_cpu/cpu*/stats |
		awk '$1 ~ /overrun|dropped/ { n += $NF } END { print n + 0 }'
}
check_eq "no event was lost" "$(lost)" 0
check "the story is whole, and adds up with the status" \
	python3 "$WORK/story.py" "$WORK/trace" "$dev" "$(dm_status d0)"
diag "$(cat "$WORK/out")"

# traced REGEX: such a line is there since the trace was cleared.
traced() {
	grep -qE ": $1" $TRACING/trace
}

three_writes() {
	local n

	for n in 1 2 3; do
		write_chunk /dev/mapper/d0 $n
	done
}

echo >$TRACING/trace
hold --slots 2 --policy ring --timeout-ms 1500 /dev/mapper/d0
three_writes
wait_for 20 state_is d0 broken
check "a break, with its reason and place" \
	traced "vmab_break: dev=$dev reason=timeout error=110 offset=(65536|131072|196608)\$"
check_eq "one" "$(grep -c ': vmab_break: ' $TRACING/trace)" 1
waited() {
	sed -n "s/.*: vmab_release: .*waited_us=\([0-9]*\) $1\$/\1/p" $TRACING/trace | sort -n | tail -n 1
}
check "the write that it let go had waited for about so long" \
	test "$(waited submitted)" -ge 1500000 -a "$(waited submitted)" -lt 6000000
release_hold

echo >$TRACING/trace
hold --slots 2 --policy ring --timeout-ms 1000 --on-cbw-error break-guest-write /dev/mapper/d0
three_writes
check "a write that was failed" wait_for 20 traced "vmab_release: dev=$dev .* failed\$"
check "had waited for about so long" test "$(waited failed)" -ge 1000000 -a "$(waited failed)" -lt 6000000
check_status 1 "and that is no break" traced vmab_break
release_hold

echo >$TRACING/trace
hold --slots 2 --policy ring --timeout-ms 60000 /dev/mapper/d0
three_writes
# Each is held for its own copy, if only for as long as that takes: this is the one that lasts.
one_waits() {
	[ "$(cat "$WORK"/written.[123] 2>/dev/null | wc -l)" -eq 2 ] && held_now d0 1
}
wait_for 20 one_waits
dmsetup suspend --noflush --nolockfs d0
check "a write that a suspend gave back" traced "vmab_release: dev=$dev .* requeued\$"
check "is held no more" held_now d0 0
# dm tries what it got back again until the suspend is complete.
holds=$(grep -c ': vmab_hold: ' $TRACING/trace)
dmsetup resume d0
held_again() {
	[ "$(grep -c ': vmab_hold: ' $TRACING/trace)" -gt "$holds" ]
}
check "and is held again after the resume" wait_for 20 held_again
release_hold
all_written() {
	written 1 && written 2 && written 3
}
check "and goes on in the end" wait_for 20 all_written

echo >$TRACING/trace
hold --slots 2 --policy ring --timeout-ms 1000 /dev/mapper/d0
write_chunk /dev/mapper/d0 1
write_chunk /dev/mapper/d0 2
wait_for 20 written 1
wait_for 20 written 2
python3 -c '
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_WRONLY), 0x1277, struct.pack("QQ", 4 << 20, 65536))
' /dev/mapper/d0
check "a discard is called one" traced "vmab_hold: dev=$dev op=discard sector=8192 sectors=128\$"
check "and so is a drop" traced "vmab_release: dev=$dev sector=8192 .* dropped\$"
check "after it had waited" test "$(waited dropped)" -ge 1000000
release_hold
