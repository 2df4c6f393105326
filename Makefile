# Two commands do it all on a machine with Python 3.11 or newer: `make train` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: train test check format fuzz audit size docs lock clean
.DELETE_ON_ERROR:

train: $(VENV)/.installed ## get Fashion-MNIST, train, evaluate, save a model
	$(BIN)/resnets train fashion-mnist

test: $(VENV)/.installed-dev ## the whole test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 4

check: $(VENV)/.installed-dev ## format, lint, types, which room imports which, and the words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python docs/words.py

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "resnets needs Python 3.11 or newer; name one with PYTHON=/path/to/python3" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(if $(LOCKED),--require-hashes -r requirements/dev.lock,-e '.[dev,docs]')
	$(if $(LOCKED),$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .)
	touch $@ $(VENV)/.installed

fuzz: $(VENV)/.installed-dev ## damaged and hostile files for every parser
	$(BIN)/python tests/fuzz/fuzz.py --seconds $(or $(SECONDS),60)

audit: $(VENV)/.installed-dev ## known faults of the packages
	.ci/audit

size: $(VENV)/.installed-dev ## lines per room, and what two tasks have twice
	$(BIN)/python benchmarks/size.py --check

docs: $(VENV)/.installed-dev ## the documentation site in build/site, strictly and without a network
	NO_MKDOCS_2_WARNING=1 PATH="$(abspath $(BIN)):$$PATH" $(BIN)/mkdocs build --strict --quiet

lock: ## the exact packages of CI, with hashes
	uv pip compile pyproject.toml --extra dev --extra docs --constraint requirements/limits.txt --generate-hashes --universal --python-version 3.11 \
		--no-emit-index-url --no-annotate --no-header --output-file requirements/dev.lock

clean:
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
