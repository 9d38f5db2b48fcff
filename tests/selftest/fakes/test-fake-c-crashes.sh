#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Dies of a signal half way.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 2
ok "so far"
trap - EXIT
kill -SEGV $$
