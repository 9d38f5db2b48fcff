#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Is content itself, but the kernel is not.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 1
echo 'WARNING: CPU: 0 PID: 1 at nowhere.c:1 fake' >/dev/kmsg
ok "nobody looks at the log"
