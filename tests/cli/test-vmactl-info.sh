#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "info" tells the same of an archive however it is stored and read, and tells it right.
. "$(dirname "$0")/lib.sh"
plan 47

# told NAME FILTER WANT: what jq makes of the last output.
told() {
	check "$1" test "$(jq -c "$2" "$OUT")" = "$3"
}

make_good_archive good.vma
vmactl 0 "a good archive" info --json good.vma
told "its identity" '[.version, .archive, .uuid, .ctime]' \
	'[1,"good.vma","404142434445464748494a4b4c4d4e4f",1700000000]'
told "its sizes" '[.archive_bytes, .stream_bytes, .header_bytes, .extents, .size_bytes, .data_bytes]' \
	'[173568,173568,12800,2,332288,98304]'
told "how it is stored" '[.compression, .frames, .random_access, .index]' '["none",0,true,"none"]'
told "its configurations" .configs "$(jq -cn '[
	{name: "qemu-server.conf", size: 20, text: "cores: 2\nname: test\n"},
	{name: "qemu-server.fw", size: 10, text: "[OPTIONS]\n"}]')"
told "its disks" .disks "$(jq -cn '[
	{dev_id: 1, name: "drive-scsi0", size_bytes: 200704, memory: false, clusters: 4,
		zero_clusters: 1, data_bytes: 77824},
	{dev_id: 7, name: "drive-virtio1", size_bytes: 131584, memory: false, clusters: 3,
		zero_clusters: 1, data_bytes: 20480}]')"
common='[.uuid, .ctime, .stream_bytes, .header_bytes, .extents, .size_bytes, .data_bytes, .configs,
	.disks]'
jq -c "$common" "$OUT" >same

vmactl 0 "from standard input" info --json - <good.vma
told "the same" "$common" "$(cat same)"
"$VMACTL" index good.vma >"$OUT"
vmactl 0 "by an index" info --json good.vma
told "the same" "$common" "$(cat same)"
told "and that there is one" .index '"beside"'
python3 "$CLI_DIR/seekable.py" good.vma good.vma.zst 30000
vmactl 0 "of zstd with a seek table" info --json good.vma.zst
told "the same" "$common" "$(cat same)"
told "and its frames" '[.compression, .frames, .frame_largest_bytes, .random_access]' \
	'["zstd",6,30000,true]'
told "and its own size" .archive_bytes "$(stat -c %s good.vma.zst)"
cp good.vma.idx good.vma.zst.idx
vmactl 0 "with an index of another" info --json good.vma.zst
told "the same" "$common" "$(cat same)"
told "and that it is refused" .index '"refused"'
zstd -q good.vma -o plain.zst
vmactl 0 "of zstd without one" info --json plain.zst
told "the same" "$common" "$(cat same)"
told "and that it cannot be entered" '[.compression, .random_access, .index]' '["zstd",false,"none"]'
gzip -c good.vma >good.vma.gz
vmactl 0 "of gzip" info --json good.vma.gz
told "the same" "$common" "$(cat same)"

vmactl 0 "for people" info good.vma
stdout_is "line by line" <<-'END'
	uuid:        404142434445464748494a4b4c4d4e4f
	created:     2023-11-14 22:13:20 UTC
	size:        173568 bytes (169.5 KiB)
	compression: none
	extents:     2
	index:       beside
	config:      qemu-server.conf: 20 bytes
	config:      qemu-server.fw: 10 bytes
	disk:        drive-scsi0: 200704 bytes (196.0 KiB), of which 76.0 KiB are data
	disk:        drive-virtio1: 131584 bytes (128.5 KiB), of which 20.0 KiB are data
END

# What is not text: no JSON reader may choke on it.
make_archive odd.vma <<-'END'
	config bytes \xff\xfe
	config null a\0b
	config latin \xc3\xa9
	device 1 65536 d\x01\xe9
	zero 1 0
END
name=$(printf 'odd\xff.vma')
mv odd.vma "$name"
vmactl 0 "odd names and texts" info --json "$name"
told "are escaped or left out" '[.archive, .disks[0].name, (.configs | map(.text))]' \
	'["odd\\xff.vma","d\\x01\\xe9",[null,null,"é"]]'

head -c -4096 good.vma >cut.vma
vmactl 3 "a truncated archive" info cut.vma
stderr_has "is refused" truncated
vmactl 3 "from standard input as well" info --json - <cut.vma

# As the manual says: of an archive that is not compressed, only verify reads the data.
make_archive data.vma <<-'END'
	device 1 65536 d
	sums
	cluster 1 0 ffff 5a
	poke 20000 ff
END
vmactl 0 "a damaged byte of data is not seen" info data.vma
vmactl 3 "but from standard input" info - <data.vma
vmactl 0 "an index is made nevertheless" index data.vma
vmactl 3 "verify finds it" verify data.vma
vmactl 3 "nor is it given out" cat data.vma --disk d
stderr_has "but named" "disk d, offset 0"
vmactl 2 "no archive" info

# A FIFO is opened once. A writer whose reader closes it and comes back may have been killed.
cat >opens.py <<'END'
# opens.py FIFO COMMAND...: runs it, and prints how often the FIFO was closed by a reader.
import ctypes, os, subprocess, sys
IN_OPEN, IN_CLOSE_NOWRITE = 0x20, 0x10
libc = ctypes.CDLL(None)
fd = libc.inotify_init()
libc.inotify_add_watch(fd, sys.argv[1].encode(), IN_OPEN | IN_CLOSE_NOWRITE)
subprocess.run(sys.argv[2:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
events = os.read(fd, 1 << 16)
print(sum(int.from_bytes(events[i + 4:i + 8], "little") & IN_CLOSE_NOWRITE != 0
          for i in range(0, len(events), 16)))
END
mkfifo fifo
for i in 1 2 3; do
	cat good.vma >fifo &
	vmactl 0 "from a FIFO ($i)" info --json fifo
	result=0
	wait $! || result=1
	point "$result" "and its writer is not killed ($i)"
	told "the same ($i)" "$common" "$(cat same)"
done
cat good.vma >fifo &
check "it is opened once" test "$(python3 opens.py fifo "$VMACTL" info fifo)" = 1
wait $! || true
