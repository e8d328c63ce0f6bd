# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
.DEFAULT_GOAL := help

.PHONY: help run test test-all lab data lint bench vulnerabilities

help:  ## list these commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-15s %s\n", $$1, $$2}'

run: .venv/current  ## set up, then recipe quick on data/ if it holds Kaggle's files, else on the sample
	$(BIN)/python -m toxlib run --recipe quick

test: .venv/cluster .venv/export .venv/sentencepiece .venv/audit .venv/serve  ## set up, then style checks and all tests but the slow ones
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(TESTS)

test-all:  ## the same with the slow tests: Ray, kills, many labels, real rows
	$(MAKE) test TESTS="-m ''"

bench: .venv/current  ## set up, then measure speed side by side (about 25 minutes)
	$(BIN)/python -m toxlib bench

lab: .venv/current  ## set up, then open the notebooks in JupyterLab
	$(BIN)/jupyter lab notebooks

data: .venv/current  ## say which of Kaggle's files are in data/, and whether they are sound
	$(BIN)/python -m toxlib data

lint: .venv/current  ## format and lint, notebooks included
	$(BIN)/ruff format . && $(BIN)/ruff check --fix .

vulnerabilities:  ## compare the pinned requirements with known vulnerabilities (needs internet)
	$(PYTHON) -m venv .venv-audit && .venv-audit/bin/pip install --quiet pip-audit==2.10.1
	.venv-audit/bin/pip-audit --strict --no-deps --disable-pip $(foreach file,$(wildcard requirements*.txt),-r $(file))

.venv/current: requirements.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet -r requirements.txt
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

# Optional requirements, such as .venv/export of requirements-export.txt.
.venv/%: requirements-%.txt .venv/current
	$(BIN)/pip install --quiet -r $<
	touch $@
