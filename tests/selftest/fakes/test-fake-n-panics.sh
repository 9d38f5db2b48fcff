#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Takes the machine down.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 1
echo c >/proc/sysrq-trigger
ok "never printed"
