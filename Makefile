# Two commands for a newcomer: `make demo` and `make test`. Both make .venv and install on first use, never twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
# Processes that share the tests; each imports torch once, takes some 2 GB, and computes on one core.
WORKERS ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

.PHONY: help install demo test test-all lint format clean

help:
	@echo "make demo      install, then train, score and predict on phantoms (runs/demo/report.html)"
	@echo "make test      install, then run the test suite (WORKERS=2 processes)"
	@echo "make test-all  the test suite with the long tests"
	@echo "make lint      ruff check and format check"
	@echo "make clean     remove .venv and runs/demo"

install: $(INSTALLED)

# The environment is made anew only when the requirements in setup.py change.
$(INSTALLED): setup.py
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 10) <= v < (3, 13) else f"densekit needs Python 3.10 to 3.12, {sys.executable} is {v[0]}.{v[1]}: run make PYTHON=python3.11 ...")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing densekit and what it needs into $(VENV) (about 5.5 GB, two to four minutes) ..."
	@$(BIN)/python -m pip install --disable-pip-version-check --quiet --editable ".[dev]"
	@touch $(INSTALLED)

demo: $(INSTALLED)
	$(BIN)/densekit demo

test: $(INSTALLED)
	$(PYTEST) -m "not slow"

test-all: $(INSTALLED)
	$(PYTEST)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(INSTALLED)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) runs/demo
