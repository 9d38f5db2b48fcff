#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A backup that fails before it has touched a disk says so in its summary, and replaces
# nothing that is not a summary.
. "$(dirname "$0")/lib.sh"
plan 29

echo '{"outcome":"ok"}' >summary
vmactl 1 "a device that is not there" backup --disk a=/dev/no-such-disk --output x.vma \
	--json-summary summary
check "yesterday's summary is replaced" grep -q '"outcome":"failed"' summary
check "nothing else was made" test "$(ls)" = summary

# With --suspended that could wait for a disk of the caller's, who waits for vmactl.
rm summary
vmactl 1 "the same with disks that the caller has suspended" backup --disk a=/dev/no-such-disk \
	--output x.vma --suspended --json-summary summary
check "no file is touched" test -z "$(ls)"
echo '{"outcome":"ok"}' >summary

echo precious >archive.vma
vmactl 2 "an archive that is there" backup --disk a=/dev/no-such-disk --output archive.vma \
	--json-summary archive.vma
check "the summary did not overwrite it" test "$(cat archive.vma)" = precious

# What the summary's path names and is no file stays what it is.
mkfifo fifo
ln -s summary link
ln -s /dev/null null
mkdir directory
for path in fifo link null directory; do
	was=$(stat -c '%F %i' $path)
	vmactl 1 "a summary in the place of a $path" backup --disk a=/dev/no-such-disk \
		--output x.vma --json-summary $path
	stderr_has "$path: it is named" "$path"
	check "$path: is what it was" test "$(stat -c '%F %i' $path)" = "$was"
done
vmactl 2 "a summary without a name" backup --disk a=/dev/no-such-disk --output x.vma \
	--json-summary ""
vmactl 1 "one whose name leaves no room" backup --disk a=/dev/no-such-disk --output x.vma \
	--json-summary "$(printf '%0254d' 0)"
stderr_has "is told before the disks are looked at" "its name is too long"
vmactl 2 "a summary on standard output" backup --disk a=/dev/no-such-disk --output x.vma \
	--json-summary -

# Names that are no text, and messages that are cut: the summary is JSON all the same.
is_json() {
	jq -e ".outcome == \"failed\" and .ctime > 1600000000 and .archive == \"$1\"" summary >"$OUT"
}
vmactl 1 "an archive whose name is Latin-1" backup --disk a=/dev/no-such-disk \
	--output $'x\xe9.vma' --json-summary summary
check "the summary has it escaped" is_json 'x\\xe9.vma'
# Of umlauts, so that an odd and an even number of bytes stand before the cut.
long=$(printf '/dev/%0300d' 0 | tr 0 u | sed 's/u/ü/g')
for name in "$long" "x$long"; do
	vmactl 1 "a path of ${#name} bytes" backup --disk "a=$name" --output x.vma \
		--json-summary summary
	check "the summary is text" python3 -c \
		'import json; json.load(open("summary", encoding="utf-8"))'
done
