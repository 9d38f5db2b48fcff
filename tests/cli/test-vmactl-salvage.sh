#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Damaged archives: "verify" tells all of it, "extract --salvage" gets the rest out and never
# looks like a good restore.
. "$(dirname "$0")/lib.sh"
plan 112

# Three extents with sums of their data: at bytes 12800, 25600 and 83456.
archive() {
	rm -rf a.vma want
	make_archive a.vma want < <(
		cat <<-'END'
			config qemu-server.conf cores: 2\n
			device 1 458752 drive-scsi0
			device 2 131072 drive-scsi1
			sums
			extent
			cluster 1 0 0001 11
			zero 1 1
			cluster 1 2 0003 22
			extent
			cluster 1 3 000f 33
			cluster 2 0 00ff 44
			cluster 1 4 0003 55
			extent
			cluster 1 5 0001 66
			cluster 1 6 0001 77
			cluster 2 1 0001 88
		END
		cat
	)
}

# zeroed FILE OFFSET LENGTH: what a salvage makes of a lost range.
zeroed() {
	dd if=/dev/zero of="$1" bs=65536 seek=$(($2 / 65536)) count=$(($3 / 65536)) conv=notrunc \
		status=none
}

last_line_has() {
	check "$1" grep -qF -e "$2" <(tail -n 1 "$ERR")
}

# json_has NAME FILTER FILE
json_has() {
	local result=0

	jq -e "$2" "$3" >/dev/null || result=1
	point "$result" "$1"
}

# --- nothing is wrong ---

archive </dev/null
vmactl 0 "a good archive with sums is verified" verify a.vma
stdout_has "its data is protected" "data is protected by checksums"
vmactl 0 "--json" verify --json a.vma
json_has "says so too" '.outcome == "complete" and .data_checksums and .faults == [] and
	(.disks | map(.lost_bytes) == [0, 0])' "$OUT"
vmactl 2 "-v does not go with it" verify --json -v a.vma
vmactl 0 "a salvage of it is an extraction" extract --salvage a.vma got
check "the same" diff -r want got
rm -r got
vmactl 0 "with --json" extract --salvage --json a.vma got
json_has "it is in the document" '.outcome == "complete"' "$OUT"
rm -r got
vmactl 2 "--json wants --salvage" extract --json a.vma got
vmactl 2 "and no -v" extract --json --salvage -v a.vma got
vmactl 2 "there is only one kind" extract --salvage=all a.vma got

# --- a bit of the data ---

archive <<<"poke 30000 00"
vmactl 3 "damaged data" verify a.vma
stderr_has "the cluster is named" \
	"disk drive-scsi0, offset 196608, length 65536: its data differs from its checksum (bytes 26112-42495 of the archive)"
stderr_has "the rest of the extent is not proven" \
	"disk drive-scsi1, offset 0, length 65536: not proven, for other data of its extent is damaged; likely intact"
last_line_has "the last line counts" "damaged or incomplete: 3 faults; 196608 bytes of disks cannot be restored"
vmactl 3 "extract refuses it" extract a.vma got
stderr_has "and names the cluster" "disk drive-scsi0, offset 196608"
vmactl 3 "so do list's friends that read data" info - <a.vma
directory_holds "nothing is left" a.vma want
vmactl 6 "a salvage" extract --salvage a.vma got
last_line_has "says what it is not" "this is NOT a complete restore: 3 faults in the archive, 196608 bytes of disks lost"
stderr_has "and what is lost" "disk drive-scsi0, offset 196608, length 131072: lost, reads as zeroes"
json_has "a report lies beside the disks" '.outcome == "damaged" and .faults_total == 3 and
	.faults[0].disk == "drive-scsi0" and .faults[0].offset_bytes == 196608 and
	.faults[0].stream_begin == 26112 and (.faults[0].likely_intact | not) and
	.faults[1].likely_intact and
	.disks[0].lost == [{ offset_bytes: 196608, length_bytes: 131072 }]' got/damage.json
rm got/damage.json
cp -r want lost
zeroed lost/disk-drive-scsi0.raw 196608 131072
zeroed lost/disk-drive-scsi1.raw 0 65536
check "all else is there" diff -r lost got
rm -r got lost
vmactl 6 "what is likely intact, too" extract --salvage=likely a.vma got
stderr_has "is told" "disk drive-scsi1, offset 0, length 65536: likely intact, not proven"
rm got/damage.json
cp -r want lost
zeroed lost/disk-drive-scsi0.raw 196608 65536
check "only the cluster is lost" diff -r lost got
rm -r got
vmactl 6 "to places of their own" extract --salvage=likely --json a.vma --to drive-scsi0=d0 --to drive-scsi1=d1
json_has "the document is on standard output" '.disks[0].lost_bytes == 65536 and
	.disks[0].likely == [{ offset_bytes: 262144, length_bytes: 65536 }]' "$OUT"
check "so is the rest" cmp d0 lost/disk-drive-scsi0.raw
check "and the other disk" cmp d1 want/disk-drive-scsi1.raw
rm -r d0 d1 lost
vmactl 6 "without the disk that is damaged" extract --salvage=likely --skip drive-scsi0 a.vma got
last_line_has "it is no good restore either" "0 bytes of disks lost"
rm -r got

# Over what was there before.
for t in t0 t1; do
	head -c 458752 /dev/zero | tr '\0' x >$t
done
truncate -s 131072 t1
printf '1:drive-scsi0=t0\n1:drive-scsi1=t1\ndone\n' >map
vmactl 6 "with a map" extract --salvage=likely a.vma got -r map
cp want/disk-drive-scsi0.raw lost
zeroed lost 196608 65536
check "what is lost is zeroes, not what was there" cmp t0 lost
check "and the other disk is there" cmp t1 want/disk-drive-scsi1.raw
rm -r got t0 t1 lost map

# --- an extent's header ---

archive <<<"poke 25700 ff"
vmactl 3 "a damaged header of an extent" verify a.vma
stderr_has "bytes of the archive" "cannot tell which disk: bytes 25600-83455 of the archive: damaged: the extent at byte 25600 has a wrong checksum"
stderr_has "what is missing for it" "disk drive-scsi0, offset 196608, length 131072: missing"
stderr_has "of each disk" "disk drive-scsi1, offset 0, length 65536: missing"
vmactl 6 "is salvaged" extract --salvage a.vma got
cp -r want lost
zeroed lost/disk-drive-scsi0.raw 196608 131072
zeroed lost/disk-drive-scsi1.raw 0 65536
rm got/damage.json
check "but for that extent" diff -r lost got
rm -r got lost

archive <<-'END'
	poke 25700 ff
	poke 12900 ff
	poke 84000 00
END
vmactl 3 "three damages" verify a.vma
check "are three faults and three ranges" test "$(grep -c '^vmactl: a.vma: ' "$ERR")" -ge 6
stderr_has "the first" "bytes 12800-83455 of the archive"
stderr_has "the last" "disk drive-scsi0, offset 327680, length 65536: its data differs"

# --- the archive's header, its end, bytes that are gone ---

archive <<<"poke 30 07"
vmactl 3 "a header with a wrong checksum" verify a.vma
stderr_has "is told, the rest is read" "bytes 0-12799 of the archive: damaged header: wrong checksum"
vmactl 6 "and salvaged" extract --salvage a.vma got
rm got/damage.json
check "all of it" diff -r want got
rm -r got
archive <<<"poke 0 00"
vmactl 3 "what is no archive is none" verify a.vma
vmactl 3 "also for a salvage" extract --salvage a.vma got
directory_holds "which leaves nothing" a.vma want
archive <<<"cut 600"
vmactl 3 "an archive cut off" verify a.vma
stderr_has "says where" "disk drive-scsi1, offset 65536, length 65536: the archive ends before it"
archive <<<"drop 30000 3000"
vmactl 3 "bytes that are gone" verify a.vma
stderr_has "are noticed" "disk drive-scsi0, offset 196608, length 65536: bytes within it are gone"
vmactl 6 "are gone over" extract --salvage a.vma got
rm got/damage.json
cp -r want lost
zeroed lost/disk-drive-scsi0.raw 196608 131072
zeroed lost/disk-drive-scsi1.raw 0 65536
check "to what follows" diff -r lost got
rm -r got lost

# --- sums that are others ---

archive <<-'END'
	extent
	cluster 1 3 0001 99
END
vmactl 3 "a cluster that comes twice" verify a.vma
stderr_has "is told" "comes twice"
vmactl 6 "and salvaged" extract --salvage a.vma got
rm got/damage.json
check "as it came first" test "$(od -An -tx1 -j196608 -N2 got/disk-drive-scsi0.raw)" = " 33 33"
rm -r got

sum_entry() {
	make_archive "$1" <<-END
		device 1 131072 a
		sums
		extent
		cluster 1 0 0001 11
		$2
		extent
		cluster 1 1 0001 22
		$3
	END
}
sum_entry missing.vma "" "patch 504 0000000000000000"
vmactl 3 "an extent without a sum among others" verify missing.vma
stderr_has "is damage" "disk a, offset 65536, length 65536: the checksum of its data is missing"
sum_entry other.vma "patch 506 59" "patch 506 59"
vmactl 0 "sums of an unknown kind are none" verify other.vma
stdout_has "and that is said" "data is not protected by checksums"
sum_entry wrong.vma "patch 504 ffff" ""
vmactl 3 "a sum that is wrong itself" verify wrong.vma
stderr_has "could be any of its data" "it is not known which of an extent's data differs"

# --- archives of others: 59 clusters in an extent, no sums ---

rm -rf want
make_archive foreign.vma want < <(
	echo device 1 $((120 * 65536)) a
	for ((i = 0; i < 120; i++)); do
		((i % 59)) || echo extent
		printf 'cluster 1 %d 0001 %02x\n' "$i" $((i + 1))
	done
	# Within the second extent's data: nothing can notice it.
	echo poke 300000 00
)
vmactl 0 "damaged data of an archive without sums" verify foreign.vma
stdout_has "is the reason for this line" "data is not protected by checksums"
cp foreign.vma cut.vma
# Its second extent's header, at 12800 + 512 + 59 * 4096.
printf '\377' | dd of=cut.vma bs=1 seek=255000 conv=notrunc status=none
vmactl 3 "its headers are protected" verify cut.vma
stderr_has "59 clusters are missing" "disk a, offset 3866624, length 3866624: missing"
vmactl 6 "a salvage" extract --salvage cut.vma got
zeroed want/disk-a.raw 3866624 3866624
check "gets the rest" cmp want/disk-a.raw got/disk-a.raw
rm -r got

# --- compressed ---

# Extents of 58 clusters of noise, which is not compressed: damage in the file's middle is in the
# second one.
openssl enc -aes-128-ctr -K 00 -iv 00 -in /dev/zero 2>/dev/null | head -c 12000256 >noise || true
cp noise lost
zeroed lost 3801088 3801088
for kind in none zstd gzip lzo; do
	"$VMACTL" create $kind.vma --compress $kind drive-scsi0=noise
	printf '\245\245' | dd of=$kind.vma bs=1 seek=6000000 conv=notrunc status=none
	vmactl 3 "$kind: damage in the middle" verify $kind.vma
	stderr_has "$kind: all that may be lost is told" "3801088 bytes of disks cannot be restored"
	vmactl 6 "$kind: a salvage" extract --salvage $kind.vma --to drive-scsi0=out
	check "$kind: gets the rest" cmp lost out
	rm out
	head -c 5000000 $kind.vma >cut.vma
	vmactl 6 "$kind: cut off" extract --salvage cut.vma --to drive-scsi0=out
	check "$kind: what was before the cut is there" cmp -n 3801088 noise out
	rm out
done

# --- one stream, as Proxmox VE writes it: most of it was written when the damage shows ---

rm -rf want
make_archive one.vma want < <(
	echo device 1 $((177 * 65536)) a
	for ((i = 0; i < 177; i++)); do
		((i % 59)) || echo extent
		printf 'cluster 1 %d ffff %02x\n' "$i" $((i + 1))
	done
)
gzip -1c one.vma >one.vma.gz
zstd -qc <one.vma >one.vma.zst
# Nothing but the checksum.
for f in one.vma.gz one.vma.zst; do
	at=$(($(stat -c %s $f) - 7))
	[ $f = one.vma.gz ] || at=$((at + 4))
	printf '\245\245' | dd of=$f bs=1 seek=$at conv=notrunc status=none
	vmactl 3 "$f: a wrong checksum at its end" verify $f
	last_line_has "$f: nothing is known to be lost" \
		"no byte of a disk is known to be lost, 11599872 bytes likely intact, not proven"
	rm -rf got
	vmactl 6 "$f: a salvage" extract --salvage $f got
	last_line_has "$f: says the same" "0 bytes of disks lost, 11599872 bytes likely intact, not proven"
	json_has "$f: and names the clusters" '.disks[0].lost_bytes == 0 and
		.disks[0].likely == [{ offset_bytes: 0, length_bytes: 11599872 }]' got/damage.json
	check "$f: has written all" cmp got/disk-a.raw want/disk-a.raw
done
