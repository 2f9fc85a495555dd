# make demo         trains, evaluates and detects on generated videos
# make demo-controls  the demo, then the same without adapters and with shuffled frames
# make demo-weights makes the weights that the demo starts from, anew
# make ablation     trains the demo's detector in six ways on three seeds, for hours; the same command continues
# make test         checks style and types, then runs the test suite
# make test-slow    the same for the tests that take minutes
# make check        checks style and types alone
# make test-newest  runs the test suite with the newest release of every library
# Each installs what it needs: test-newest into .venv-newest, the others into .venv at the versions in constraints.txt.
# The two workers share the tests by files, as the tests of a file share what they compile and train.
# ARGS="..." passes arguments on: make test ARGS="-k nms".

PYTHON ?= python3
BIN := .venv/bin
NEWEST := .venv-newest/bin
AT_LEAST_311 := import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, found " + sys.version)

.PHONY: demo demo-controls demo-weights ablation test test-slow test-newest check

demo: .venv/installed
	$(BIN)/python -m adatad_jax.demo.run $(ARGS)

demo-controls: .venv/installed
	$(BIN)/python -m adatad_jax.demo.run --controls $(ARGS)

demo-weights: .venv/installed
	$(BIN)/python -m adatad_jax.demo.backbone $(ARGS)

ablation: .venv/installed
	$(BIN)/python -m benchmarks.ablation $(ARGS)

test: check
	$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

test-slow: check
	$(BIN)/python -m pytest -m slow $(ARGS)

test-newest:
	$(PYTHON) -c '$(AT_LEAST_311)'
	test -x $(NEWEST)/python || $(PYTHON) -m venv .venv-newest
	$(NEWEST)/python -m pip install --quiet --upgrade --upgrade-strategy eager --editable ".[convert,test]"
	$(NEWEST)/python -m pytest -m "not slow" -n 2 --dist loadfile $(ARGS)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c '$(AT_LEAST_311)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[convert,test]"
	touch $@
