# Two commands do all the set-up: `make demo` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PREFIX ?= /usr/local
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

.PHONY: test
test: ## every test; installs what is missing, starts the servers it needs
	scripts/test

.PHONY: bench
bench: ## side by side with the peers: the quick form (BENCH=full for the long one)
	benches/run $(or $(BENCH),quick)

.PHONY: header
header: ## writes include/tel.h from the sources
	TEL_UPDATE_HEADER=1 $(CARGO) test --quiet --test header

.PHONY: install
install: build ## installs library, header, pkg-config file and teld under PREFIX
	install -d "$(DESTDIR)$(PREFIX)/lib/pkgconfig" "$(DESTDIR)$(PREFIX)/include" "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 target/release/libtel.so "$(DESTDIR)$(PREFIX)/lib/libtel.so.$(VERSION)"
	ln -sfn libtel.so.$(VERSION) "$(DESTDIR)$(PREFIX)/lib/libtel.so.0"
	ln -sfn libtel.so.0 "$(DESTDIR)$(PREFIX)/lib/libtel.so"
	install -m 644 target/release/libtel.a "$(DESTDIR)$(PREFIX)/lib/libtel.a"
	install -m 644 include/tel.h "$(DESTDIR)$(PREFIX)/include/tel.h"
	sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|' packaging/tel.pc.in \
	  > "$(DESTDIR)$(PREFIX)/lib/pkgconfig/tel.pc"
	install -m 755 target/release/teld "$(DESTDIR)$(PREFIX)/bin/teld"

.PHONY: stage
stage: ## installs into target/stage, for the examples and tests
	@$(MAKE) --no-print-directory install PREFIX=$(STAGE) DESTDIR=
