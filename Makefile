# Two commands set everything up on a fresh machine: `make demo` and `make test`.
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.10 || command -v python3)
VENV   ?= .venv
# Processes that share the tests; each test file stays in one, and each process computes on one core.
TESTERS ?= 2
BIN     = $(VENV)/bin
CV_FIX  = $(BIN)/pip uninstall -q -y opencv-contrib-python && $(BIN)/pip install -q --no-deps --force-reinstall -c constraints.txt opencv-contrib-python-headless

.PHONY: demo test lint format types unit slow clean

demo: $(VENV)/.installed
	$(BIN)/instaface demo -o demo

test: lint types unit

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.installed-test
	$(BIN)/mypy

unit: $(VENV)/.installed-test
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(TESTERS) --dist loadfile -m "not slow and not gpu"

slow: $(VENV)/.installed-test
	$(BIN)/pytest -m "slow"

format: $(VENV)/.installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

# MediaPipe asks for the OpenCV build with a window system, which fails to load on a bare machine (libGL);
# the headless build of the same version is the same library without it. Both own the same files, so it is put
# back after the other one has been taken out.
$(VENV)/.installed: pyproject.toml constraints.txt Makefile | $(VENV)/bin/pip
	$(BIN)/pip install -q -c constraints.txt -e .
	$(CV_FIX)
	touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt Makefile | $(VENV)/bin/pip
	$(BIN)/pip install -q -c constraints.txt -e ".[test]"
	$(CV_FIX)
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache demo
