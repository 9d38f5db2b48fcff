# SPDX-License-Identifier: GPL-2.0-or-later
# dm-vmabackup and vmactl.  "make help" lists the targets.
#
# Must parse, and "make setup" must work, where nothing but make and git is
# installed: nothing here runs a tool before a recipe needs it.

TOP := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
SHELL := /bin/bash
export VMAB_BUILD ?= $(TOP)/build
KVER ?= $(shell . $(TOP)/scripts/env.sh && newest_kver)
# Headers of a kernel that is not installed come with the tools of its suite
# (scripts/kernels), which stand where /usr is.
BUILD_ROOT := $(if $(KDIR)$(wildcard /lib/modules/$(KVER)/build),,$(wildcard $(shell \
	. $(TOP)/scripts/env.sh; echo $$VMAB_CACHE)/kernel/$(KVER)/build-root/usr))
KDIR ?= $(if $(BUILD_ROOT),/usr/src/linux-headers-$(KVER),/lib/modules/$(KVER)/build)
prefix ?= /usr/local
sbindir ?= $(prefix)/sbin
# Beside no other program: a "vma" in the PATH may be Proxmox's own.
vmadir ?= $(prefix)/libexec/dm-vmabackup
mandir ?= $(prefix)/share/man
docdir ?= $(prefix)/share/doc/dm-vmabackup

# $(call modules_make,ARGUMENTS): Kbuild writes beside its sources, so it works
# on a tree of symbolic links under build/, one per kernel.
# VMAB_GCOV=1, for the debug kernel: the module counts which of its lines ran.
export VMAB_GCOV
MODULES_DIR = $(VMAB_BUILD)/modules-$(KVER)$(if $(VMAB_GCOV),-gcov)
modules_make = $(if $(BUILD_ROOT),$(TOP)/scripts/in-build-root $(BUILD_ROOT)) $(MAKE) \
	--no-print-directory -C $(KDIR) M=$(MODULES_DIR) $(if $(VMAB_GCOV),GCOV_PROFILE=y) $(1)

all: modules userspace

help:
	@sed -n 's/^#: /  /p' $(TOP)/Makefile

#: make                  module and vmactl, into build/
#: make setup            install what is missing (apt), fetch the tests' kernel
setup:
	@$(TOP)/scripts/setup

links:
	@[ -n "$(KVER)" ] || { echo "no linux-headers-*-amd64 is installed; run make setup" >&2; exit 1; }
	@mkdir -p $(MODULES_DIR)
	@cd $(TOP) && cp -rsf $(TOP)/Kbuild $(TOP)/kernel $(TOP)/include $(MODULES_DIR)/

#: make modules          dm-vmabackup.ko for KVER (newest of Debian's installed headers)
modules: links
	+@$(call modules_make,W=1 KCFLAGS=-Werror KDOC_WERROR=1 modules)

#: make sparse           the same under sparse, complaints are errors
sparse: links
	+@$(call modules_make,W=1 C=2 CF="-Wsparse-error" KCFLAGS=-Werror KDOC_WERROR=1 modules)

#: make userspace        vmactl and the nbdkit plugin
userspace:
	+@$(MAKE) --no-print-directory -C $(TOP)/userspace OUT=$(VMAB_BUILD)/userspace

userspace-san:
	+@$(MAKE) --no-print-directory -C $(TOP)/userspace SAN=1 OUT=$(VMAB_BUILD)/userspace-san

# Programs that only tests use.
test-tools:
	+@if [ -e $(TOP)/tests/tools/Makefile ]; then \
		$(MAKE) --no-print-directory -C $(TOP)/tests/tools OUT=$(VMAB_BUILD)/tests; \
	fi

#: make unit             unit tests
unit:
	@$(TOP)/tests/run unit
#: make check-vm         tests in virtual machines; TESTS="glob ..." selects
check-vm:
	@$(TOP)/tests/run vm
KERNELS ?= debian12 debian13 newest
#: make check-kernels    the same on each of KERNELS="debian12 debian13 newest"
check-kernels:
	@KERNELS="$(KERNELS)" TESTS="$${TESTS:-*}" $(TOP)/tests/run kernels
#: make debug-kernel     a kernel that watches itself, as a process, into the cache (10 minutes)
debug-kernel:
	@$(TOP)/scripts/debug-kernel --um
#: make check-debug      all tests in virtual machines on it, looking for leaks after each
check-debug:
	@$(TOP)/tests/run setup debug
#: make check-debug-smp  the same where it has two CPUs and preemption, emulated: many times as long
check-debug-smp:
	@$(TOP)/tests/run setup debug-smp
#: make coverage         the same, counting lines of the module, report in build/coverage/
coverage:
	@$(TOP)/tests/run setup coverage
#: make check-faults     the same under faults, FAULTS=slab,io (or page, usercopy)
check-faults:
	@FAULTS=$(FAULTS) $(TOP)/tests/run setup faults
#: make check            setup, style, build and every test
check:
	@$(TOP)/tests/run check
#: make style            include graph, checkpatch, sparse, shellcheck, file headers
style:
	@$(TOP)/scripts/style
#: make vm-shell         a shell in the tests' virtual machine
vm-shell: setup
	+@$(MAKE) --no-print-directory modules userspace test-tools
	@$(TOP)/tests/vm/run --mem 2G --disk 1G --disk 1G --disk 4G --shell
# The same tests as in check, long.  The seeds are printed with the results.
RUNS ?= 20
KILLS ?= 50
# Drawn once per run of make.
ifndef SEED
SEED := $(shell echo $$RANDOM)
endif
#: make long-exact       archives against snapshots, each policy with RUNS=20 seeds from SEED on
long-exact:
	@echo "seeds $(SEED) to $$(($(SEED) + $(RUNS) - 1))"
	@VMAB_TEST_SEEDS="$$(seq -s ' ' $(SEED) $$(($(SEED) + $(RUNS) - 1)))" \
		TESTS=backup-equals-snapshot $(TOP)/tests/run vm
#: make long-view        views against snapshots, likewise
long-view:
	@echo "seeds $(SEED) to $$(($(SEED) + $(RUNS) - 1))"
	@VMAB_TEST_SEEDS="$$(seq -s ' ' $(SEED) $$(($(SEED) + $(RUNS) - 1)))" \
		TESTS=view-equals-snapshot $(TOP)/tests/run vm
#: make long-kill        kill -9 at KILLS=50 moments chosen by SEED
long-kill:
	@echo "seed $(SEED)"
	@VMAB_TEST_KILLS=$(KILLS) VMAB_TEST_SEED=$(SEED) \
		TESTS=session-survives-kill $(TOP)/tests/run vm
#: make long-roundtrip   random sets of disks through writers and readers, RUNS=20 from SEED on
long-roundtrip:
	+@$(MAKE) --no-print-directory userspace
	@VMAB_TEST_RUNS=$(RUNS) VMAB_TEST_SEED=$(SEED) \
		VMACTL=$(VMAB_BUILD)/userspace/vmactl/vmactl $(TOP)/tests/cli/test-vmactl-roundtrip.sh
FLIPS ?= 10000
#: make long-flips       FLIPS=10000 bits by SEED, flipped in an archive of each kind, are found
long-flips:
	@echo "seed $(SEED)"
	+@$(MAKE) --no-print-directory -s -C $(TOP)/userspace OUT=$(VMAB_BUILD)/userspace unit
	@VMAB_TEST_FLIPS=$(FLIPS) VMAB_TEST_SEED=$(SEED) $(VMAB_BUILD)/userspace/unit/test-flips
#: make bench-stall      guest writes while the archive's target stands still: ring and auto
bench-stall: setup
	+@$(MAKE) --no-print-directory modules userspace test-tools
	@$(TOP)/tests/bench/stall
#: make bench-archive    archive commands beside dd and zstd: SIZE=8G, RUNS=5, SPARSE=2T
bench-archive:
	+@$(MAKE) --no-print-directory userspace test-tools
	@$(TOP)/tests/bench/archive $(VMAB_BUILD) $(VMAB_BUILD)/bench
	@$(TOP)/tests/bench/archive-report.py $(VMAB_BUILD)/bench/archive.json | \
		tee $(VMAB_BUILD)/bench/archive.txt
#: make bench            what a backup costs the guest, beside LVM's and QEMU's; REPS=5 CASES=glob
bench: setup
	+@$(MAKE) --no-print-directory modules userspace test-tools
	@$(TOP)/tests/bench/run
#: make bench-compare    FIRST=FILE SECOND=FILE: how far the ratios of two runs of make bench differ
bench-compare:
	@$(TOP)/tests/bench/compare $(FIRST) $(SECOND)
#: make soak             everything at once, at random, for MINUTES=30, by SEED, on the debug kernel
MINUTES ?= 30
# For what it judges, and a round that has begun when time is up.
SOAK_SPARE := 900
soak:
	@echo "seed $(SEED)"
	@VMAB_TEST_SOAK_SECONDS=$$(($(MINUTES) * 60)) VMAB_TEST_SEED=$(SEED) \
		VMAB_TEST_TIMEOUT=$$(($(MINUTES) * 60 + $(SOAK_SPARE))) \
		TESTS=soak-everything $(TOP)/tests/run debug-smp
SECONDS := 60
#: make fuzz             each fuzz target for SECONDS=60; what it finds is in build/fuzz/found
fuzz:
	+@$(MAKE) --no-print-directory -C $(TOP)/tests/fuzz OUT=$(VMAB_BUILD)/fuzz
	@$(TOP)/tests/fuzz/run $(SECONDS)
#: make demo             shows a backup of a busy disk, from nothing
demo: setup
	+@$(MAKE) --no-print-directory modules userspace test-tools
	@$(TOP)/tests/demo/run

#: make install          module, programs, nbdkit plugin, documentation and header, below DESTDIR
install: all install-userspace
	$(if $(BUILD_ROOT),$(error $(KVER) is not installed on this machine; KVER= chooses another))
	+@$(call modules_make,modules_install CONFIG_MODULE_SIG_ALL= \
		$(if $(DESTDIR),INSTALL_MOD_PATH=$(DESTDIR)))
	$(if $(DESTDIR),,depmod $(KVER))

#: make install-userspace  the same without the module
install-userspace: userspace
	install -D -m 755 $(VMAB_BUILD)/userspace/vmactl/vmactl $(DESTDIR)$(sbindir)/vmactl
	install -D -m 755 $(TOP)/Documentation/examples/vmabackup-freeze \
		$(DESTDIR)$(sbindir)/vmabackup-freeze
	if [ -e $(VMAB_BUILD)/userspace/nbdkit/nbdkit-vma-plugin.so ]; then \
		install -D -m 644 $(VMAB_BUILD)/userspace/nbdkit/nbdkit-vma-plugin.so \
			$(DESTDIR)$$(pkg-config --variable=plugindir nbdkit)/nbdkit-vma-plugin.so; \
		install -D -m 644 $(TOP)/Documentation/nbdkit-vma-plugin.1 \
			$(DESTDIR)$(mandir)/man1/nbdkit-vma-plugin.1; \
	fi
	install -d $(DESTDIR)$(vmadir)
	ln -sf $(sbindir)/vmactl $(DESTDIR)$(vmadir)/vma
	install -D -m 644 $(TOP)/Documentation/vmactl.8 $(DESTDIR)$(mandir)/man8/vmactl.8
	install -D -m 644 $(TOP)/include/uapi/linux/dm-vmabackup.h \
		$(DESTDIR)$(prefix)/include/linux/dm-vmabackup.h
	install -D -m 644 -t $(DESTDIR)$(docdir) $(TOP)/README.md
	cd $(TOP)/Documentation && find . -type f ! -name '*.[18]' \
		-exec install -D -m 644 '{}' '$(DESTDIR)$(docdir)/Documentation/{}' ';'

DKMS_VERSION = $(shell sed -n 's/^PACKAGE_VERSION="\(.*\)"$$/\1/p' $(TOP)/dkms.conf)
DKMS_DIR = $(DESTDIR)/usr/src/dm-vmabackup-$(DKMS_VERSION)
#: make install-dkms     the module's source for dkms; without DESTDIR also built, for KVER
install-dkms:
	$(if $(DESTDIR),,[ -z "$$(dkms status dm-vmabackup/$(DKMS_VERSION))" ] || \
		dkms remove dm-vmabackup/$(DKMS_VERSION) --all)
	rm -rf $(DKMS_DIR)
	install -d $(DKMS_DIR)
	cd $(TOP) && cp -r --preserve=mode Kbuild kernel include LICENSES dkms.conf $(DKMS_DIR)/
	$(if $(DESTDIR),,dkms install --force dm-vmabackup/$(DKMS_VERSION) -k $(KVER))

#: make clean            remove build/
clean:
	rm -rf $(VMAB_BUILD)

.PHONY: fuzz all help setup links modules sparse userspace userspace-san test-tools
.PHONY: unit check-vm check check-kernels bench bench-compare bench-stall bench-archive long-exact long-view long-kill long-flips long-roundtrip soak style vm-shell
.PHONY: demo install install-userspace install-dkms clean
.PHONY: debug-kernel check-debug check-debug-smp coverage check-faults
