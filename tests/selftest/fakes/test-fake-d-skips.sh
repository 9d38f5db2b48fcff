#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Skips as a whole.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
skip_all "nothing of the kind here"
