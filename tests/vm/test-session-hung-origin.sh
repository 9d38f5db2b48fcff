#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# One disk's storage hangs in the middle of a session: the other disk's guest
# goes on writing and does not notice, and when the storage is back, the backup
# is complete and exact as if nothing had been.
# needs: disks=2x256M
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-hold.sh"
plan 12

TOOLS=$BED_BUILD/tests
size=65536
load_target
dm_create below "0 $size linear /dev/vda 0"
vmabackup_on d0 /dev/mapper/below
dm_create d1 "0 $size vmabackup /dev/vdb"
at_exit "dmsetup resume below"
disks=(/dev/mapper/d0 /dev/mapper/d1)

# A write of the other disk that took longer than this was held up: an emulated
# machine that is busy elsewhere, but far below the 300 s of cbw_timeout.
HELD_UP_MS=$((15000 * ${BED_SLOWNESS:-1}))

"$TOOLS/guestload" --seed 4 --fill-percent 60 --threads 4 --stop-file "$WORK/stop" --pause-us 2000 \
	--ready-file "$WORK/ready" --deadline 100 --verify --log "$WORK/log" "${disks[@]}" \
	>"$WORK/load" 2>&1 &
load=$!
wait_for_file 100 "$load" "$WORK/ready"
# 20 chunks a second until the storage is back: on a slow machine, too, the other disk
# then still has chunks that its guest is the first to want. And what waits for the first
# disk waits for as long as this takes.
"$TOOLS/ioctl-abuse" drain --slots 32 --reserve 8 --timeout-ms 300000 --batch 2 --delay-us 100000 \
	--hurry-file "$WORK/back" --ready-file "$WORK/armed" \
	--out "$WORK/0" --out "$WORK/1" "${disks[@]}" >"$WORK/drain" 2>&1 &
drain=$!
wait_for_file 60 "$drain" "$WORK/armed"
check "the storage of the first disk hangs" dmsetup suspend --noflush --nolockfs below
touch "$WORK/stop"

# guestload's threads own stripes of both disks, so they stand now; another
# guest, which has only the second disk, beyond what the first one wrote to.
sleep 1
guest_of() {
	[[ $(dm_status "$1") =~ \ guest\ ([0-9]+) ]]
	echo "${BASH_REMATCH[1]}"
}
before=$(guest_of d1)
quick_writes() {
	python3 - "$1" "$HELD_UP_MS" <<'PY'
import mmap, os, random, sys, time
fd = os.open(sys.argv[1], os.O_RDWR | os.O_DIRECT)
data = mmap.mmap(-1, 512)
random.seed(3)
chunks = random.sample(range(512), 64)
longest = 0
for chunk in chunks:
    # Writes what is there already: the load's stamps must stay.
    os.preadv(fd, [data], chunk * 65536)
    begin = time.monotonic()
    os.pwritev(fd, [data], chunk * 65536)
    longest = max(longest, time.monotonic() - begin)
print("longest write: %.0f ms" % (longest * 1000))
sys.exit(longest * 1000 > float(sys.argv[2]))
PY
}
(
	trap - ERR EXIT
	dd if=/dev/mapper/d0 of=/dev/null bs=4k count=1 skip=9 iflag=direct status=none || true
	touch "$WORK/came"
) &
check "writes to the other disk go on" quick_writes /dev/mapper/d1
diag "$(<"$WORK/out")"
check "some of them pushed chunks" test "$(guest_of d1)" -gt "$before"
check "the session is armed" state_is d1 armed
check "on both" state_is d0 armed
check "the first disk really hangs" test ! -e "$WORK/came"
check "the storage is back" dmsetup resume below
touch "$WORK/back"
check_wait "the session gets everything" "$drain"
diag "$(tail -n 2 "$WORK/drain")"
check_wait "the guests lost nothing" "$load"
check "what was delivered is of one instant" "$TOOLS/guestload" check --log "$WORK/log" \
	"$WORK/0" "$WORK/1"
check "the disks are idle" state_is d0 idle
check "both" state_is d1 idle
