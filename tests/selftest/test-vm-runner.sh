#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The runner of tests in virtual machines gives each of fakes/ the verdict it deserves.
set -u
top=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# NAME PASSED FAILED SKIPPED
wanted='
a-passes 3 0 0
b-fails 1 1 0
c-crashes 1 1 0
d-skips 0 0 1
e-skips-one 1 0 1
f-short 1 2 0
g-no-plan 1 1 0
h-trips 1 1 0
i-warns 1 1 0
j-litters-device 1 1 0
k-litters-process 1 1 0
l-cleanup-fails 1 1 0
m-hangs 0 2 0
n-panics 0 2 0
o-after 1 0 0
p-wedges 0 2 0
'

printf 'TAP version 13\n1..22\n'
n=0 bad=0
# same NAME GOT WANTED
same() {
	n=$((n + 1))
	if [ "$2" = "$3" ]; then
		printf 'ok %d - %s\n' $n "$1"
	else
		bad=$((bad + 1))
		printf 'not ok %d - %s\n# got    %s\n# wanted %s\n' $n "$1" "$2" "$3"
	fi
}

VMAB_MACHINE_GRACE=5 "$top/tests/vm/run-tests" --suite fake --totals "$work/totals" --results "$work/results" \
	"$top"/tests/selftest/fakes/test-fake-*.sh >"$work/log" 2>&1
same "the runner itself ends well" $? 0
while read -r name counts; do
	[ -n "$name" ] || continue
	got=$(sed -n "s/^fake\ttest-fake-$name\t//p" "$work/totals" | tr '\t' ' ')
	same "$name" "$got" "$counts"
done <<<"$wanted"

same "every fake is judged once" "$(wc -l <"$work/totals")" 16
tap=$(cat "$work"/results/*/test-fake-h-trips.tap)
line=$(grep -n '^false$' "$top/tests/selftest/fakes/test-fake-h-trips.sh")
case $tap in
*"line ${line%%:*}: exit status 1 from: false"*) same "the failing line is named" yes yes ;;
*) same "the failing line is named" "$tap" "line ${line%%:*}" ;;
esac
"$top/tests/vm/run" --mem 512M --timeout 3 -- sleep 1000 >"$work/run" 2>&1
same "a job that hangs is ended" $? 124

# A QEMU whose machines die while they boot, as often as said in a file.
cat >"$work/qemu" <<EOF
#!/bin/bash
read -r deaths <"$work/deaths"
[ \$deaths -gt 0 ] || exec qemu-system-x86_64 "\$@"
echo \$((deaths - 1)) >"$work/deaths"
EOF
chmod +x "$work/qemu"
# dies TIMES: the status of a run in such a machine.
dies() {
	local status=0

	echo "$1" >"$work/deaths"
	QEMU=$work/qemu VMABACKUP_ACCEL=tcg "$top/tests/vm/run" --mem 512M --results "$work/dies" \
		-- true >>"$work/run" 2>&1 || status=$?
	echo $status
}
same "a machine that dies while it boots is booted once more" "$(dies 1)" 0
same "but only once" "$(dies 2)" 125

[ $bad -eq 0 ] || sed 's/^/# /' "$work/log"
[ $bad -eq 0 ]
