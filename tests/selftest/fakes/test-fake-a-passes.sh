#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Passes.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 3
touch "$WORK/here"
check "true succeeds" true
check_status 3 "a status is a status" bash -c 'exit 3'
# Not a failure: the helpers look at the status themselves.
try false
check_eq "try keeps the status" "$status" 1
