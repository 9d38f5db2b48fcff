#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Leaves a device-mapper device.
# needs: disks=0 mem=512M
. "$BED_TOP/tests/vm/lib.sh"
plan 1
modprobe dm-mod
dmsetup create left --table '0 8 error'
ok "made"
