# make demo   trains, evaluates and detects on generated videos
# make test   checks style and types, then runs the test suite
# Each installs what it needs into .venv, at the versions in constraints.txt.

PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo demo-controls test test-slow check

demo: .venv/installed
	$(BIN)/python -m adatad_jax.demo.run $(ARGS)

demo-controls: .venv/installed
	$(BIN)/python -m adatad_jax.demo.run --controls $(ARGS)

test: check
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

test-slow: check
	$(BIN)/python -m pytest -m slow $(ARGS)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[convert,test]"
	touch $@
