#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Fails one of two; a function given to check must run under set -e.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 2
swallows() {
	false
	true
}
check "a function that fails half way" swallows
check "this is fine" true
