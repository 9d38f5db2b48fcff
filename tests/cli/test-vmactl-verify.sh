#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "verify" takes what other readers take, and finds what is damaged or missing: exit status 3.
. "$(dirname "$0")/lib.sh"
plan 69

make_good_archive good.vma
vmactl 0 "a good archive" verify good.vma
stdout_is "its summary" <<-'END'
	drive-scsi0: 200704 bytes, 4 clusters, 61.2% zero
	drive-virtio1: 131584 bytes, 3 clusters, 84.8% zero
	data is not protected by checksums
	complete: 2 devices, 2 configuration files, 98304 bytes of data
END
vmactl 0 "in detail" verify -v good.vma
stdout_has "names the configurations" "configuration file qemu-server.conf: 20 bytes"
stdout_has "and the uuid" "uuid: 404142434445464748494a4b4c4d4e4f"
vmactl 0 "from standard input" verify - <good.vma

# What is read once leaves the page cache to others.
head -c $((64 << 20)) /dev/urandom >random
vmactl 0 "a large one is made" create large.vma a=random
vmactl 0 "a large one" verify large.vma
if [ "$(stat -f -c %T .)" = tmpfs ]; then
	skip "little of it stays in the page cache" "here all files are in it"
else
	check "little of it stays in the page cache" \
		test "$(fincore -b -n -r -o RES large.vma)" -le $((16 << 20))
fi
rm random large.vma

# --- compression ---

zstd -q good.vma -o good.vma.zst
vmactl 0 "compressed with zstd" verify good.vma.zst
(head -c 5000 good.vma | zstd -q -c; tail -c +5001 good.vma | zstd -q -c) >frames.zst
vmactl 0 "in two frames" verify frames.zst
(printf 'P*M\030\004\0\0\0skip'; cat good.vma.zst) >skip.zst
vmactl 0 "after a skippable frame" verify skip.zst
head -c -5 good.vma.zst >cut.zst
vmactl 3 "a frame cut off" verify cut.zst
stderr_has "is called truncated" "truncated"
(cat good.vma.zst; echo garbage) >garbage.zst
vmactl 3 "garbage after the frame" verify garbage.zst
(cat good.vma.zst; head -c 4 good.vma.zst) >half.zst
vmactl 3 "a second frame that only begins" verify half.zst
gzip -c good.vma >good.vma.gz
vmactl 0 "compressed with gzip" verify good.vma.gz
vmactl 0 "and from a pipe" verify - < <(cat good.vma.gz)
head -c -5 good.vma.gz >cut.gz
vmactl 3 "a member cut off" verify cut.gz
stderr_has "is called truncated, too" "truncated"
for how in "" -9 "-F" "-C --crc32" "--filter=1"; do
	# shellcheck disable=SC2086
	lzop -q $how -c good.vma >good.vma.lzo
	case $how in
	--filter*)
		vmactl 1 "lzop's filters are refused" verify good.vma.lzo
		stderr_has "and lzop named" "lzop -dc"
		;;
	*)
		vmactl 0 "compressed with lzop $how" verify good.vma.lzo
		;;
	esac
done
lzop -q -c good.vma | head -c -3 >cut.lzo
vmactl 3 "an lzo stream cut off" verify cut.lzo

# --- what must be taken ---

takes() {
	rm -f a.vma
	make_archive a.vma
	vmactl 0 "takes $1" verify a.vma
}

takes "nothing at all" <<<""
takes "extents of a header only" <<-'END'
	device 1 65536 a
	extent
	extent
	zero 1 0
	extent
END
takes "unused blockinfo between used ones, whatever it holds" <<-'END'
	device 1 131072 a
	unused
	cluster 1 0 0100 01
	unused
	zero 1 1
	patch 40 ffffff0000000000
END
takes "blocks past the end of the last cluster" <<-'END'
	device 1 66048 a
	cluster 1 1 ffff 01
	zero 1 0
END
takes "a device with a size and no name" <<-'END'
	device 1 65536 a
	header 4168 0000000000010000
	zero 1 0
END
takes "a configuration without a name" <<-'END'
	config a text
	header 2044 00000000
END
takes "all 59 clusters of many extents" <<-'END'
	device 1 67108864 a
	zeroes 1 0 1023
END

# --- what must be refused ---

refuses() {
	rm -f a.vma
	make_archive a.vma
	vmactl 3 "refuses $1" verify a.vma
	stderr_has "and says \"$2\"" "$2"
}

# What each of these archives would be, were it not for one fault.
one_disk() {
	cat <<-'END'
		device 1 131072 a
		cluster 1 0 0003 11
		extent
		zero 1 1
	END
}

takes "the archive that all of these are made of" < <(one_disk)
refuses "a wrong magic number" "not a VMA archive" < <(one_disk; echo poke 0 58)
refuses "another version" "version 2" < <(one_disk; echo header 4 00000002)
refuses "a wrong checksum of the header" "checksum" < <(one_disk; echo poke 24 ff)
refuses "a header size that is too small" "damaged header: wrong checksum" < <(one_disk; echo header 56 00003000)
refuses "a header size beyond the limit" "says that it has 4294967295 bytes, and has" < <(one_disk; echo poke 56 ffffffff)
refuses "a name outside the blob buffer" "blob buffer" < <(one_disk; echo header 4128 0000ffff)
refuses "a wrong magic number of an extent" "magic" < <(one_disk; echo patch 0 58)
refuses "a wrong checksum of an extent" "checksum" < <(one_disk; echo poke 12900 ff)
refuses "an extent of another archive" "uuid" < <(one_disk; echo patch 8 ff)
refuses "something in an extent's reserved field" "reserved" < <(one_disk; echo patch 4 0100)
refuses "a cluster that comes twice" "twice" < <(one_disk; echo zero 1 0)
refuses "a cluster past the end" "past its end" < <(one_disk; echo zero 1 2)
refuses "a device that is not there" "unknown device 2" < <(one_disk; echo zero 2 0)
refuses "masks and a block count that differ" "masks say 0" < <(one_disk; echo count 1)
refuses "a missing cluster" "disk a, offset 131072, length 65536: missing" < <(
	one_disk | sed 's/131072/196608/'
)
refuses "an extent cut off" "truncated" < <(one_disk; echo cut 1)
refuses "bytes after the end" "truncated" < <(one_disk; echo append 00)
