# Corten's targets. Each one does its own set-up; `make help` lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
JOBS ?= $(shell nproc)

.PHONY: help build run test unit system lint format bench bench-quick sanitize fault vm clean stop

help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## Build all programs into build/bin
	@tools/setup build
	@tools/dev-build -p release all

run: build ## Build a web server from a Dockerfile, publish it, fetch the page; leaves cortend running
	@tools/setup run
	@tools/first-run

stop: ## Stop the cortend that `make run` left behind, and its containers
	@tools/first-run --stop

test: build ## Unit and system tests
	@tools/setup test
	@tools/run-tests

unit: build ## Unit tests only
	@tools/run-tests --unit

system: build ## System tests only (real daemon, real clients)
	@tools/setup test
	@tools/run-tests --system

lint: ## clang-format, clang-tidy, module layers, file sizes
	@tools/setup lint
	@tools/lint

format: ## Let clang-format rewrite the tree
	@tools/setup lint
	@git ls-files -- '*.h' '*.cc' '*.c' | xargs clang-format-19 -i

sanitize: ## Unit and system tests under ASan+UBSan, then TSan
	@tools/setup build
	@tools/setup test
	@tools/run-tests --preset asan
	@tools/run-tests --preset tsan

fault: build ## 200 random kills of daemon and shims under load, then a leak hunt
	@tools/setup test
	@tools/run-tests --fault

vm: build ## Other kernel, control groups v2 only, power cuts: tests in an emulated machine
	@tools/setup vm
	@tests/vm/run

bench: build ## Compare with docker.io, podman, buildah, containerd, crun and runc on this machine; writes docs/benchmarks.md
	@tools/setup bench
	@bench/run

bench-quick: build ## A few repetitions beside Docker alone; fails if a promise of speed is broken; writes no page
	@tools/setup bench
	@bench/run --quick --check --only run,images,builds --without podman,containerd,buildah

clean: ## Remove what was built
	@rm -rf build
