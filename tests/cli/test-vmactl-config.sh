#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# "config" prints the bytes of a configuration file, and fails if it is not there.
. "$(dirname "$0")/lib.sh"
plan 12

make_good_archive good.vma
vmactl 0 "the default" config good.vma
stdout_is "is qemu-server.conf" <<-'END'
	cores: 2
	name: test
END
vmactl 0 "another one, from standard input" config -c qemu-server.fw - <good.vma
stdout_is "is printed" <<<"[OPTIONS]"
vmactl 0 "options after the archive" config good.vma -c qemu-server.fw
lacks() {
	local status=0

	"$VMACTL" config "$@" >"$OUT" 2>"$ERR" || status=$?
	test "$status" -eq 2
}
check "one that is not there" lacks good.vma -c other
stderr_has "is named" '"other"'

make_archive binary.vma <<<'config blob \x00\x01\xff\x0d'
vmactl 0 "a binary one" config binary.vma -c blob
check "comes as it is" cmp "$OUT" <(printf '\0\1\377\r')
check "no default there" lacks binary.vma
stderr_has "is named as well" '"qemu-server.conf"'

make_archive bad.vma <<-'END'
	config qemu-server.conf x
	poke 12300 ff
END
vmactl 3 "a damaged header" config bad.vma
