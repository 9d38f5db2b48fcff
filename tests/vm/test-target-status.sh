#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The status line has the documented keys in the documented order, always; its counters
# add up at every moment of a backup that uses all destinations, and vmactl tells the same.
# needs: disks=2x256M timeout=900
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 17

CHUNKS=4096
n='[0-9]+'
KEYS="guest $n fetched $n forgotten $n held $n $n wait_us $n $n copying $n policy (ring|fleece|auto|-)"
KEYS+=" spilled $n refetched $n fleece_used $n fleece_error $n failed $n dropped $n"
KEYS+=" reason [a-z-]+ $n (-|$n)"

in_order() {
	dm_status "$1" | grep -qxE "0 $n vmabackup (idle|member|armed|broken) 128 $n/$CHUNKS $KEYS" ||
		{ dm_status "$1"; return 1; }
}

# value DISK KEY [WHICH]: the first (or another) number after the key.
value() {
	dm_status "$1" | awk -v key="$2" -v which="${3:-1}" \
		'{ for (i = 1; i <= NF; i++) if ($i == key) { print $(i + which); exit } }'
}

# What holds for every line in the file, and that they are not all the same.
cat >"$WORK/adds-up.py" <<'END'
import sys

def parse(line):
    f = line.split()[3:]
    s = dict(state=f[0], left=int(f[2].split("/")[0]), total=int(f[2].split("/")[1]))
    arity = {"held": 2, "wait_us": 2, "reason": 3}
    i = 3
    while i < len(f):
        n = arity.get(f[i], 1)
        s[f[i]] = f[i + 1] if n == 1 else f[i + 1:i + 1 + n]
        i += 1 + n
    return s

last = {}
for line in open(sys.argv[1]):
    s = parse(line)
    n = {k: int(v) for k, v in s.items() if not isinstance(v, list) and str(v).isdigit()}
    now, ever = map(int, s["held"])
    longest, total_wait = map(int, s["wait_us"])
    copied = n["guest"] + n["fetched"] + n["refetched"] + n["forgotten"]
    assert n["left"] + copied == n["total"] + n["spilled"], line
    assert n["refetched"] <= n["spilled"] <= n["guest"], line
    assert now <= ever and longest <= total_wait <= longest * ever, line
    assert n["copying"] <= n["total"], line
    assert n["fleece_used"] <= 128 * (n["guest"] + n["copying"]), line
    assert n["fleece_used"] >= 128 * (n["spilled"] - n["refetched"]), line
    if s["state"] == "armed" and last:
        for key in ("guest", "fetched", "refetched", "spilled"):
            assert n[key] >= last[key], line
    last = n if s["state"] == "armed" else {}
END
adds_up() {
	python3 "$WORK/adds-up.py" "$1"
}

load_target
vmabackup_on d0 /dev/vda 2 fleece /dev/vdb
openssl rand 33554432 | dd of=/dev/vda bs=1M oflag=direct iflag=fullblock status=none
check "the keys before any session" in_order d0
check_eq "all of it" "$(dm_status d0)" \
	"0 524288 vmabackup idle 128 0/$CHUNKS guest 0 fetched 0 forgotten 0 held 0 0 wait_us 0 0 copying 0 policy - spilled 0 refetched 0 fleece_used 0 fleece_error 0 failed 0 dropped 0 reason none 0 -"

# The archive stands still until guest writes have taken the slots there are and then some of
# the fleece device, from where their chunks come back in the end.
start_backup() {
	"$VMACTL" backup --disk a=/dev/mapper/d0 --output - --policy auto --slots 32 \
		--json-summary "$WORK/summary" | { read -r _ <"$WORK/go"; cat >/dev/null; }
}
some_spilled() {
	[ "$(value d0 spilled)" -gt 0 ]
}
mkfifo "$WORK/go"
start_backup &
backup=$!
wait_for 30 state_is d0 armed
"$BED_BUILD/tests/guestload" --stop-file "$WORK/stop" --threads 4 /dev/mapper/d0 >"$WORK/load" 2>&1 &
load=$!
check "the keys in a session" in_order d0
check_eq "the policy is the session's" "$(value d0 policy)" auto
wait_for 60 some_spilled
echo >"$WORK/go"
while kill -0 $backup 2>/dev/null; do
	dm_status d0 >>"$WORK/lines"
	sleep 0.3
done
check_wait "the backup" $backup
touch "$WORK/stop"
check_wait "the guest's load" $load
dm_status d0 >>"$WORK/lines"
diag "$(wc -l <"$WORK/lines") lines, the last: $(tail -n 1 "$WORK/lines")"
check "the counters added up all the time" adds_up "$WORK/lines"
check "the keys after it" in_order d0
check "all destinations were in use" test "$(value d0 guest)" -gt "$(value d0 spilled)" -a \
	"$(value d0 spilled)" -gt 0 -a "$(value d0 refetched)" -gt 0 -a "$(value d0 fetched)" -gt 0
check_eq "what went to the fleece device came back" "$(value d0 refetched)" "$(value d0 spilled)"
check_eq "and nothing is left there" "$(value d0 fleece_used)" 0
check_eq "nothing is being copied or held" "$(value d0 copying) $(value d0 held)" "0 0"

same_everywhere() {
	"$VMACTL" status --json d0 >"$WORK/status.json"
	python3 - "$WORK/status.json" "$WORK/summary" "$(dm_status d0)" <<-'END'
	import json, sys
	status = json.load(open(sys.argv[1]))[0]
	summary = json.load(open(sys.argv[2]))
	words = sys.argv[3].split()
	def word(key, which=1):
	    return int(words[words.index(key) + which])
	for name, number in {
	    "chunks_guest": word("guest"), "chunks_fetched": word("fetched"),
	    "chunks_forgotten": word("forgotten"), "chunks_spilled": word("spilled"),
	    "chunks_refetched": word("refetched"), "guest_writes_held": word("held", 2),
	    "guest_wait_longest_us": word("wait_us"), "guest_wait_total_us": word("wait_us", 2),
	    "guest_writes_failed": word("failed"), "discards_dropped": word("dropped"),
	    "fleece_errno": word("fleece_error"), "chunks_left": 0}.items():
	    assert status[name] == number, (name, status[name], number)
	    # The load went on, but after the last chunk nothing is held.
	    assert summary[name] == number, (name, summary[name], number)
	assert status["policy"] == summary["policy"] == "auto"
	assert summary["disks"][0]["fleece"] is True and status["fleece_device"]
	END
}
check "dmsetup, vmactl status and the summary agree" same_everywhere

# A session that breaks.
hold --slots 2 --policy ring --timeout-ms $((500 * ${BED_SLOWNESS:-1})) /dev/mapper/d0
for i in 1 2 3; do
	write_chunk /dev/mapper/d0 $i
done
wait_for 20 state_is d0 broken
check "the keys of a broken one" in_order d0
check_eq "the writes that it had copied" "$(value d0 guest)" 2
release_hold
check "the keys after it" in_order d0
check "which still name the reason" reason_is d0 timeout
