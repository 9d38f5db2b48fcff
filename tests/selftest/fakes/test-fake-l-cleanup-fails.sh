#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Its cleanup fails.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 1
at_exit false
ok "passes"
