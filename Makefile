# Every target sets up what it needs; the second call finds it done.
PYTHON ?= python3
VENV ?= .venv
PEER_VENV := .venv-peer
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses=2 --dist=loadfile
CODE := theory rfm experiments figures rfm_command.py tests benchmarks

# What depends on the last bits of a processor, tried with the BLAS kernels of others.
KERNELS := Haswell Prescott
ACCURACY := $(addprefix tests/theory/test_,trust spectrum risk starts transforms phases left_out contour) tests/theory/rules/test_averaging \
  $(addprefix tests/theory/batches/test_,minibatch approximation training) tests/theory/derivatives/test_covariance \
  $(addprefix tests/rfm/,test_kernels test_rounding expected/test_quadrature decide/test_leave_one_out)

# A dozen files of tests that together take half a minute, from every floor.
QUICK ?= tests/test_house.py tests/test_installation.py tests/test_float32.py theory/checks.py \
  theory/rules tests/theory/test_traced_values.py \
  $(addprefix tests/rfm/,test_files.py data/test_tables.py) $(addprefix tests/experiments/test_,configs.py progress.py)

# The first Python 3.13 that runs: a pyenv shim of that name may stand for none.
PYTHON313 = $(shell for python in python3.13 $(HOME)/.pyenv/versions/3.13.*/bin/python; do \
  $$python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null && echo $$python && break; done)

.PHONY: help ucurve figures check lint test test-slow test-kernels test-quick test-python313 test-wheel accuracy faults bench bench-peer scaling clean

help:
	@echo "make ucurve        set up, run the main experiment, print its table, draw its figure"
	@echo "make figures       run every experiment that has no result yet, draw every figure"
	@echo "make check         set up, then lint, types, and half a minute of tests from every floor"
	@echo "make test          set up, then lint, types, tests and doctests, but for the slow ones"
	@echo "make test-slow     the slow ones: many draws, whole runs, other processes, the pages of docs/"
	@echo "make test-kernels  the accuracy tests again, with the BLAS kernels of other processors: $(KERNELS)"
	@echo "make test-python313  those of make check with Python 3.13, and the jax 0.12 that goes with it, where that Python is there"
	@echo "make test-wheel    build the wheel, install it into an empty environment, use it beside folders called as ours"
	@echo "make accuracy      what is claimed of errors, on a thousand ill-conditioned problems against exact arithmetic"
	@echo "make faults        bad input, and runs that are killed, stopped or out of disk, tried for about five minutes"
	@echo "make bench         set up, then the benchmarks (those against neural-tangents only after make bench-peer: 2.7 GB)"
	@echo "make scaling       measure how time and memory grow with the sizes, draw it"
	@echo "make clean         remove the virtual environments and all results"

ucurve: $(VENV)/.installed
	$(BIN)/rfm ucurve

figures: $(VENV)/.installed
	$(BIN)/python -m figures

check: $(VENV)/.installed-dev lint test-quick

test: $(VENV)/.installed-dev lint
	$(PYTEST) -m 'not slow'

test-slow: $(VENV)/.installed-dev
	$(PYTEST) -m slow

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy

test-kernels: $(VENV)/.installed-dev
	@if [ "$$(uname -m)" != x86_64 ]; then echo "no x86-64: the BLAS kernels $(KERNELS) are not tried"; exit 0; fi; \
	for kernel in $(KERNELS); do \
	  echo "OPENBLAS_CORETYPE=$$kernel"; \
	  OPENBLAS_CORETYPE=$$kernel XLA_FLAGS= $(PYTEST) $(addsuffix .py,$(ACCURACY)) || exit 1; \
	done

test-quick: $(VENV)/.installed-dev
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest $(QUICK)

test-python313:
	@if [ -n "$(PYTHON313)" ]; then $(MAKE) --no-print-directory VENV=.venv-313 PYTHON="$(PYTHON313)" test-quick; \
	else echo "no Python 3.13: the quick tests are NOT run with it, nor with jax 0.12"; fi

test-wheel: $(VENV)/.installed-dev
	$(BIN)/python -m tests.wheel

accuracy: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.accuracy

faults: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.faults

bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks

bench-peer: $(PEER_VENV)/.installed

scaling: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.scaling results/scaling.nc
	$(BIN)/python -m figures.scaling results/scaling.nc

clean:
	rm -rf $(VENV) .venv-313 $(PEER_VENV) results figures/*.pdf figures/*.png

$(VENV)/bin/python $(PEER_VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || { \
	  echo "rfm needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is $$($(PYTHON) --version 2>&1); say make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(@:/bin/python=)

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) install --constraint constraints.txt --editable .
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(VENV)/.installed-bench: $(VENV)/.installed-dev
	$(PIP) install --constraint constraints.txt --editable '.[bench]'
	@touch $@

$(PEER_VENV)/.installed: benchmarks/neural_tangents.txt | $(PEER_VENV)/bin/python
	$(PEER_VENV)/bin/python -m pip --disable-pip-version-check --quiet install --requirement $<
	@touch $@
