#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Skips one result.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 2
ok "this one is there"
skip "this one" "is not to be had"
