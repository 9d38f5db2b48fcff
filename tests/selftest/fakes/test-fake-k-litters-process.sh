#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Leaves a process.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 1
sleep 1000 &
ok "started"
