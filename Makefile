# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
DESTDIR ?=
CARGO ?= cargo
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
STAGE := $(CURDIR)/target/stage

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

.PHONY: setup
setup:
	@scripts/setup build

.PHONY: build
build: setup ## libtel.so, libtel.a and teld in target/release
	$(CARGO) build --release

.PHONY: demo
demo: build ## the main job on the embedded broker, with real access lines
	target/release/teld demo

.PHONY: stack
stack: setup ## the whole system on this machine: Kafka, tel-control, an edge with traffic; Ctrl-C ends it
	@scripts/setup test
	$(CARGO) build --release --bin teld --package tel --bin tel-control --package tel-control
	examples/stack/stack

.PHONY: test
test: ## every test; installs what is missing, starts the servers it needs
	scripts/test

.PHONY: bench
bench: ## side by side with the peers: the quick form (BENCH=full for the long one)
	benches/run $(or $(BENCH),quick)

.PHONY: soak
soak: ## the long runs: 200 edges on one list, thousands of VCL loads and nginx reloads under load
	scripts/soak

.PHONY: header
header: ## writes include/tel.h from the sources
	TEL_UPDATE_HEADER=1 $(CARGO) test --quiet --test header

# The tree's libtel, or an installed one: make vmod TEL_PREFIX=/usr/local
.PHONY: vmod
vmod: $(if $(TEL_PREFIX),,stage) ## target/hosts/libvmod_tel.so, for Varnish
	@PKG_CONFIG_PATH="$(or $(TEL_PREFIX),$(STAGE))/lib/pkgconfig:$$PKG_CONFIG_PATH" \
	  $(MAKE) --no-print-directory -s -C bindings/varnish OUT=$(CURDIR)/target/vmod
	@install -d target/hosts && install -m 755 target/vmod/libvmod_tel.so target/hosts/libvmod_tel.so

.PHONY: install
install: build ## installs library, header, pkg-config file, teld and man pages under PREFIX
	@$(MAKE) --no-print-directory install-files

# What the build has made, without building.
.PHONY: install-files
install-files:
	install -d "$(DESTDIR)$(LIBDIR)/pkgconfig" "$(DESTDIR)$(PREFIX)/include" "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 target/release/libtel.so "$(DESTDIR)$(LIBDIR)/libtel.so.$(VERSION)"
	ln -sfn libtel.so.$(VERSION) "$(DESTDIR)$(LIBDIR)/libtel.so.0"
	ln -sfn libtel.so.0 "$(DESTDIR)$(LIBDIR)/libtel.so"
	install -m 644 target/release/libtel.a "$(DESTDIR)$(LIBDIR)/libtel.a"
	install -m 644 include/tel.h "$(DESTDIR)$(PREFIX)/include/tel.h"
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@LIBDIR@|$(LIBDIR)|' -e 's|@VERSION@|$(VERSION)|' packaging/tel.pc.in \
	  > "$(DESTDIR)$(LIBDIR)/pkgconfig/tel.pc"
	install -m 755 target/release/teld "$(DESTDIR)$(PREFIX)/bin/teld"
	for page in docs/man/tel.h.3 docs/man/teld.*; do \
	  install -D -m 644 "$$page" "$(DESTDIR)$(PREFIX)/share/man/man$${page##*.}/$${page##*/}" || exit 1; \
	done

.PHONY: install-control
install-control: setup ## installs tel-control, its man page and its systemd unit under PREFIX
	$(CARGO) build --release --package tel-control --bin tel-control
	install -D -m 755 target/release/tel-control "$(DESTDIR)$(PREFIX)/bin/tel-control"
	install -D -m 644 docs/man/tel-control.8 "$(DESTDIR)$(PREFIX)/share/man/man8/tel-control.8"
	install -d "$(DESTDIR)$(PREFIX)/lib/systemd/system"
	sed 's|/usr/bin/|$(PREFIX)/bin/|' packaging/tel-control.service \
	  > "$(DESTDIR)$(PREFIX)/lib/systemd/system/tel-control.service"

.PHONY: stage
stage: ## installs into target/stage, for the examples and tests
	@$(MAKE) --no-print-directory install PREFIX=$(STAGE) DESTDIR=

.PHONY: deb
deb: build ## Debian packages libtel0, libtel-dev and teld in target/debian
	@scripts/setup deb
	scripts/deb

.PHONY: nginx-module
nginx-module: ## the module for Debian's nginx: target/hosts/ngx_http_tel_module.so (TEL_STAGE=installed prefix)
ifeq ($(TEL_STAGE),)
	@$(MAKE) --no-print-directory stage
endif
	PKG_CONFIG_PATH=$(or $(TEL_STAGE),$(STAGE))/lib/pkgconfig bindings/nginx/build target/hosts/ngx_http_tel_module.so target/nginx/build
