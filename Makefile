# make demo and make test do all their own set-up; the rest is for contributors.
PYTHON ?= python3
BIN = .venv/bin
READY = .venv/ready

.PHONY: venv demo test test-slow lint format speed clean

venv: $(READY)

$(READY): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11) and "firstsight needs Python 3.11 or newer; set PYTHON=...")'
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: $(READY)
	$(BIN)/firstsight demo

test: lint
	$(BIN)/python -m pytest -q -n auto -m 'not slow'

test-slow: $(READY)
	$(BIN)/python -m pytest -q -m slow

lint: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

speed: $(READY)
	$(BIN)/python -m speed

clean:
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis dist
