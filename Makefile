# SPDX-License-Identifier: GPL-2.0-only
# make [KDIR=dir OUT=dir | KERNEL=version] | demo | check [ONLY=pattern BED="svm vmx"] | bench [BED=vmx] | install | dkms | sloc | lint | check-mutants | clean

# Kernel to build for: the argument, else the running kernel's build tree, else the newest installed headers, 6.1 first.
hdrs := $(shell ls -d /usr/src/linux-headers-*-amd64 2>/dev/null | grep -v -e -cloud- -e -rt- | sort -V)
# KERNEL=6.12 builds beside it, in build/module/6.12, for Debian's newest of that series, fetched if need be.
ifneq ($(KERNEL),)
KDIR := $(shell scripts/fetch-kernel generic $(KERNEL) --headers)
OUT  := build/module/$(KERNEL)
endif
KDIR ?= $(firstword $(wildcard /lib/modules/$(shell uname -r)/build) $(lastword $(foreach h,$(hdrs),$(if $(findstring linux-headers-6.1.,$h),$h))) \
	$(lastword $(hdrs)))
OUT ?= build

ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

all: module hwvctl

module:
	$(if $(KDIR),,$(error no kernel headers found: run scripts/setup, or give KDIR=))
	+@scripts/build-module $(KDIR) $(OUT) W=$(or $(W),1) HWV_WERROR=y $(if $(HWV_DEBUG),HWV_DEBUG=y)

hwvctl:
	+@$(MAKE) --no-print-directory -C userspace

tests: hwvctl
	+@$(MAKE) --no-print-directory -C tests
unit:
	+@$(MAKE) --no-print-directory -C tests unit

demo bench: setup
	+@$(MAKE) --no-print-directory all
	scripts/$@ $(if $(filter bench,$@),$(foreach b,$(BED),--bed $b))
check: setup
	scripts/check $(if $(ONLY),--only '$(ONLY)') $(foreach b,$(BED),--bed $b) $(foreach k,$(KERNELS),--kernel $k) \
		$(foreach r,$(RINGS),--ring $r)
setup:
	scripts/setup
lint sloc check-mutants:
	scripts/$@

install: all
	scripts/install
dkms: hwvctl
	scripts/install --dkms
clean:
	rm -rf build

.PHONY: all module hwvctl tests unit demo bench check setup lint sloc check-mutants install dkms clean
