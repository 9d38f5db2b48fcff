#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# A command fails outside of the helpers.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 2
ok "so far"
false
ok "never printed"
