#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Runs although another one took the machine down.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 1
check "no module, no device of others" test ! -e /dev/mapper/left
