#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Random sets of disks through vmactl's writer and the tests' reader, and the reverse; see
# roundtrip.py. VMAB_TEST_RUNS sets, the first one by VMAB_TEST_SEED.
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python3 "$here/roundtrip.py" "${VMACTL:-$here/../../build/userspace/vmactl/vmactl}" \
	"${VMAB_TEST_RUNS:-4}" "${VMAB_TEST_SEED:-1}"
