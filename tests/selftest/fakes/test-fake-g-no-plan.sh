#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Prints no plan.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
ok "without a plan"
