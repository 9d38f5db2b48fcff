# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# The machine that QEMU makes, for tests/vm/run, which sources this and whose variables it
# uses. Its root comes over 9p.

QEMU=${QEMU:-qemu-system-x86_64}
# Modules that reach the root and the disks.
MODULES=(virtio_pci 9pnet_virtio 9p overlay virtio_blk)
# A kernel that runs under KVM says so in under 2 s.
PROBE_TIMEOUT=15

machine_needs() {
	command -v "$QEMU" >/dev/null || die "$QEMU is not installed; run scripts/setup"
}

# QEMU ends with what started it.
machine_cleanup() { :; }

# --- accelerator: /dev/kvm that opens may still not run a stock kernel ---

kvm_works() {
	[ -w /dev/kvm ] || return 1
	timeout --foreground -k 1 "$PROBE_TIMEOUT" "$QEMU" -accel kvm -cpu host -m 256M \
		-nodefaults -display none -monitor none -serial stdio -no-reboot \
		-kernel "$kernel/vmlinuz" -initrd "$initrd" \
		-append "console=ttyS0 panic=-1 quiet bed.probe" </dev/null 2>&1 |
		grep -q bed-probe-ok
}

accelerator() {
	local sum note

	if [ -n "${VMABACKUP_ACCEL:-}" ]; then
		printf '%s\n' "$VMABACKUP_ACCEL"
		return
	fi
	# Asked once per machine, host kernel and guest kernel.
	sum=$({ cat /etc/machine-id 2>/dev/null || hostname; uname -rv; echo "$KVER"; id -u; } |
		sha256sum | cut -c1-16)
	note=$VMAB_CACHE/accel-$sum
	if [ ! -e "$note" ]; then
		if kvm_works; then echo kvm; else echo tcg; fi >"$note.$$"
		mv "$note.$$" "$note"
	fi
	cat "$note"
}

# --- disks: sparse raw files that live as long as the machine ---

add_disks() {
	local n=0 spec size options option cache=writeback drive device file

	if dd if=/dev/zero of="$work/direct" bs=4096 count=1 oflag=direct status=none 2>/dev/null; then
		cache=none
	fi
	rm -f "$work/direct"
	# No merging of requests in QEMU: where the files' device has blocks of 4096 bytes,
	# QEMU 7.2 pads what it merged beyond the number of parts that pwritev() takes, and
	# the guest's writes fail with EIO.
	for spec in "${disks[@]}"; do
		size=${spec%%,*}
		options=${spec#"$size"}
		file=$work/disk$n
		truncate -s "$size" "$file" || die "bad disk: $spec"
		drive="if=none,id=disk$n,file=${file//,/,,},format=raw,cache=$cache,aio=threads"
		drive+=",discard=unmap"
		device="virtio-blk-pci,request-merging=off,drive=disk$n,serial=disk$n"
		for option in ${options//,/ }; do
			case $option in
			iops=*) drive+=",throttling.iops-total=${option#*=}" ;;
			iops_size=*) drive+=",throttling.iops-size=${option#*=}" ;;
			bps=*) drive+=",throttling.bps-total=${option#*=}" ;;
			sector=*) device+=",logical_block_size=${option#*=},physical_block_size=${option#*=}" ;;
			*) die "bad disk: $spec" ;;
			esac
		done
		machine+=(-drive "$drive" -device "$device")
		n=$((n + 1))
	done
}

# --- the machine ---

# Sets machine, the command, and accel.
machine_command() {
	local emulated=max,la57=off,erms=off,fsrm=off cmdline='' append

	if [ "$icount" = yes ]; then accel=icount cpus=1; else accel=$(accelerator); fi
	# Without five levels of page tables: a kernel with KASAN takes all of its memory for wild
	# if an interrupt comes while it looks at what its first CPU can do, and has forgotten that
	# for now. Without fast string moves: a kernel that knows of them moves byte by byte by one
	# instruction, of which a real CPU does 32 bytes at once, and this one interprets and counts
	# each byte.
	case $accel in
	icount)
		machine=("$QEMU" -accel "tcg,thread=single" -icount "shift=0,sleep=off" -cpu "$emulated")
		;;
	kvm) machine=("$QEMU" -accel kvm -cpu host) ;;
	tcg) machine=("$QEMU" -accel "tcg,thread=multi" -cpu "$emulated") ;;
	*) die "VMABACKUP_ACCEL is kvm or tcg" ;;
	esac
	# What a kernel of one's own wants on its command line stands beside it.
	[ ! -e "$kernel/cmdline" ] || cmdline=$(<"$kernel/cmdline")
	append='console=ttyS0 panic=-1 oops=panic quiet loglevel=5 mitigations=off no_timer_check'
	append+=' log_buf_len=4M'
	machine+=(
		-smp "$cpus" -m "$mem" -nodefaults -display none -monitor none -no-reboot
		-chardev "file,id=console,path=${results//,/,,}/console"
		-chardev "stdio,id=job,signal=off"
		-serial chardev:console -serial chardev:job
		-fsdev "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap"
		-device "virtio-9p-pci,fsdev=root,mount_tag=hostroot"
		-fsdev "local,id=results,path=${results//,/,,},security_model=none,multidevs=remap"
		-device "virtio-9p-pci,fsdev=results,mount_tag=results"
		-device virtio-rng-pci
		-kernel "$kernel/vmlinuz" -initrd "$initrd"
		-append "$append $cmdline"
	)
	add_disks
}
