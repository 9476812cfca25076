.DEFAULT_GOAL := help
.PHONY: help setup run demo doctor test check fix

help: ## list these commands
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/'

setup: ## install what is missing
	./setup.sh install

run: ## start the service
	./setup.sh serve

demo: ## turn every example into a GLB
	./setup.sh demo

check: ## lint, types, import rules, tests: all that CI runs
	./setup.sh test

doctor: ## say what this machine can run, and what is missing
	./setup.sh doctor

test: ## only the tests
	.venv/bin/python -m pytest -n 2 --dist loadfile --max-worker-restart 0

fix: ## format and mend what can be mended by itself
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .
