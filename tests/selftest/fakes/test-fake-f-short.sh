#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Prints fewer results than it planned, and exits 0.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 3
ok "only one"
