#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Hangs.
# needs: disks=0 mem=512M timeout=3
. "$BED_TOP/tests/vm/lib.sh"
plan 1
sleep 1000
ok "never printed"
