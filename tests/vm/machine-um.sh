# shellcheck shell=bash disable=SC2034,SC2154
# SPDX-License-Identifier: GPL-2.0-or-later
# The machine that is a process, a kernel of the architecture "um", for tests/vm/run, which
# sources this and whose variables it uses. Its root comes by hostfs, its disks from a
# qemu-storage-daemon, by vhost-user. It has one CPU and nothing is emulated.

MODULES=()

machine_needs() {
	[ "$icount" = no ] || die "--icount is for emulated machines"
	command -v qemu-storage-daemon >/dev/null ||
		die "qemu-storage-daemon is not installed; run scripts/setup"
}

# --- disks: sparse raw files that live as long as the machine ---

# Starts what serves them, which ends with this process, and adds them to machine.
add_disks() {
	local n=0 spec size options option file top throttle sector socket served
	local daemon=(qemu-storage-daemon --pidfile "$work/storage.pid" --daemonize)

	[ ${#disks[@]} -gt 0 ] || return 0
	for spec in "${disks[@]}"; do
		size=${spec%%,*}
		options=${spec#"$size"}
		file=$work/disk$n top=disk$n
		truncate -s "$size" "$file" || die "bad disk: $spec"
		throttle='' sector=512
		for option in ${options//,/ }; do
			case $option in
			iops=*) throttle+=",x-iops-total=${option#*=}" ;;
			iops_size=*) throttle+=",x-iops-size=${option#*=}" ;;
			bps=*) throttle+=",x-bps-total=${option#*=}" ;;
			sector=*) sector=${option#*=} ;;
			*) die "bad disk: $spec" ;;
			esac
		done
		daemon+=(
			--blockdev "driver=file,node-name=file$n,filename=${file//,/,,},discard=unmap"
			--blockdev "driver=raw,node-name=disk$n,file=file$n,discard=unmap"
		)
		if [ -n "$throttle" ]; then
			top=slow$n
			daemon+=(
				--object "throttle-group,id=group$n$throttle"
				--blockdev "driver=throttle,node-name=$top,throttle-group=group$n,file=disk$n,discard=unmap"
			)
		fi
		socket=$work/disk$n.sock
		served="type=vhost-user-blk,id=export$n,node-name=$top,writable=on"
		served+=",addr.type=unix,addr.path=${socket//,/,,},logical-block-size=$sector"
		daemon+=(--export "$served")
		# 2 is a disk.
		machine+=("virtio_uml.device=$socket:2")
		n=$((n + 1))
	done
	"${daemon[@]}" || die "the disks' daemon does not start"
}

# Ends what is left of it: the kernel's processes, which are a group of their own, outlive
# a kernel that was killed.
machine_cleanup() {
	[ ! -s "$work/um/machine/pid" ] || kill -KILL -- "-$(<"$work/um/machine/pid")" || true
	[ ! -s "$work/storage.pid" ] || kill "$(<"$work/storage.pid")" || true
} 2>/dev/null

# Sets machine, the command, and accel.
machine_command() {
	local job=null,fd:1 words

	[ "$shell" = no ] || job=fd:0,fd:1
	# The kernel's command line knows no quotes.
	[[ $results != *[[:space:]]* ]] || die "no spaces, please: $results"
	accel=um cpus=1
	# For its generator of random numbers; guest-init hands it over.
	head -c 64 /dev/urandom >"$results/.bed/random"
	machine=(
		"$kernel/linux" "mem=$mem" "initrd=$initrd" "bed.host=$results"
		"uml_dir=$work/um" umid=machine
		con=null "con0=null,fd:2" ssl=null "ssl1=$job" stderr=1 console=tty0
		panic=-1 oops=panic quiet loglevel=5 log_buf_len=4M
	)
	read -ra words <"$kernel/cmdline"
	machine+=("${words[@]}")
	add_disks
}
