#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A virtual machine that boots from the disk and writes to it, by QEMU itself:
# a boot sector that overwrites 4 KiB in each of 64 chunks and reads them back,
# while a session is armed.
# needs: disks=2x256M timeout=600
. "$BED_TOP/tests/vm/lib.sh"
. "$BED_TOP/tests/vm/lib-view.sh"
command -v qemu-system-x86_64 >/dev/null || skip_all "qemu-system-x86_64 is not installed"
plan 7

size=32768
cat >"$WORK/boot.s" <<'ASM'
	.code16
	.set BUFFER, 0x8000
	.set BACK, 0xa000
start:	cli
	xorw %ax, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	movw $0x7c00, %sp
	sti
	cld
	movb %dl, drive
	movw $BUFFER, %di
	movw $4096, %cx
	movb $0xa7, %al
	rep stosb
again:	movw $BUFFER, dap_buffer
	movw $0x4300, %ax
	call disk
	movw $BACK, dap_buffer
	movw $0x4200, %ax
	call disk
	movw $BUFFER, %si
	movw $BACK, %di
	movw $4096, %cx
	repe cmpsb
	jne bad
	addw $128, dap_lba
	decw left
	jnz again
	movb $16, %al
	jmp end
bad:	movb $17, %al
end:	outb %al, $0xf4
	hlt
	jmp end
disk:	movb drive, %dl
	movw $dap, %si
	int $0x13
	jc bad
	ret
left:	.word 64
drive:	.byte 0
	.align 4
dap:	.byte 16, 0
	.word 8
dap_buffer: .word 0
	.word 0
dap_lba: .quad 1032
	.org 510
	.word 0xaa55
ASM
as --32 -o "$WORK/boot.o" "$WORK/boot.s"
ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o "$WORK/boot" "$WORK/boot.o" 2>/dev/null
check_eq "the boot sector is one" "$(stat -c %s "$WORK/boot")" 512

load_target
noise /dev/vda $size
dd if="$WORK/boot" of=/dev/vda conv=notrunc oflag=direct status=none
dd if=/dev/vda of="$WORK/before" bs=1M count=$((size / 2048)) iflag=direct status=none
dm_create d0 "0 $size vmabackup /dev/vda 2 fleece /dev/vdb"
"$TOOLS/ioctl-abuse" drain --slots 16 --reserve 8 --go-file "$WORK/go" --ready-file "$WORK/armed" \
	--out "$WORK/image" /dev/mapper/d0 >"$WORK/drain" 2>&1 &
drain=$!
at_exit "kill $drain 2>/dev/null || true"
wait_for_file 30 "$drain" "$WORK/armed"
machine() {
	timeout 240 qemu-system-x86_64 -accel tcg -machine isapc -cpu 486 -m 16M -nodefaults \
		-display none -net none -boot c -device isa-debug-exit,iobase=0xf4,iosize=1 \
		-drive file=/dev/mapper/d0,format=raw,if=ide,cache=none,aio=io_uring
}
# 16 written to the exit device.
check_status 33 "the machine boots, writes and reads back" machine
check "its writes pushed chunks" test "$(status_number d0 guest)" -ge 64
touch "$WORK/go"
check_wait "the session gets everything" "$drain"
check "as it was" cmp "$WORK/image" "$WORK/before"
changed() {
	python3 -c '
import os
disk = os.open("/dev/mapper/d0", os.O_RDONLY)
for n in range(64):
    if os.pread(disk, 4096, (1032 + 128 * n) * 512) != b"\xa7" * 4096:
        exit(f"write {n} is not there")'
}
check "the disk holds what the machine wrote" changed
check "the disk is idle" state_is d0 idle
