# Short names for the commands in scripts/; `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help setup build demo test lint format coverage isas web server bench clean

help: ## Shows this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Installs the libraries that the build needs
	@scripts/setup

build: setup ## Builds the program for use, in release mode
	@swift build -c release --product deepseek-vl

demo: ## Asks the bundled model about a picture and draws its boxes
	@scripts/demo

test: ## Runs every check: style, layers, all tests, the program
	@scripts/test

lint: ## Checks format, layers and house rules; changes nothing
	@scripts/lint

format: ## Formats Swift and C in place
	@scripts/format

coverage: ## Like test, and prints what share of our lines the tests reach
	@scripts/test --coverage

web: ## Drives the web page of the debug build in headless Chromium
	@scripts/test-web

server: ## Asks the debug build's server with the official clients, schemathesis and lm-eval
	@scripts/test-server

isas: ## Runs the kernel tests once for each instruction set
	@scripts/test-isas

bench: build ## Measures the bundled model, beside this machine's limits
	@"$$(swift build -c release --show-bin-path)/deepseek-vl" bench --limits

clean: ## Removes everything that was built
	@rm -rf .build .build-* answer.png answer-*.png
