# Two commands set everything up on a fresh machine: `make rehearse` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INVOKE := PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/invoke
READY := $(VENV)/.ready

.PHONY: help rehearse test lint types release clean

help: ## Say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(READY): requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

rehearse: $(READY) ## Rehearse a whole production release on this machine (PROJECT=gli, ENGINE=auto)
	@$(INVOKE) rehearse --project $(or $(PROJECT),gli) --engine $(or $(ENGINE),auto)

test: $(READY) ## Run all tests; those that need a missing part are skipped and named
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -rs $(TESTS)

lint: $(READY) ## Check style and formatting
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(READY) ## Check types
	@$(BIN)/mypy

release: $(READY) ## Release to ENVIRONMENT of PROJECT, as a CI job does it (YES=--yes asks nothing)
	@$(INVOKE) release.$(ENVIRONMENT) --project $(or $(PROJECT),gli) $(YES)

clean: ## Remove the virtual environment and caches
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
