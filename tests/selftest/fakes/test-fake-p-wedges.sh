#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Takes the whole machine with it: who would end the test does nothing any more.
# needs: disks=0 mem=512M timeout=3
. "$BED_TOP/tests/vm/lib.sh"
plan 1
kill -STOP $PPID
sleep 1000
ok "never printed"
