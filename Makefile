# Every target sets up what it needs; the second call finds it done.
PYTHON ?= python3
VENV ?= .venv
PEER_VENV := .venv-peer
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
CODE := theory rfm experiments figures rfm_command.py tests benchmarks

# What depends on the last bits of a processor, tried with the BLAS kernels of others.
KERNELS := Haswell Prescott
ACCURACY := $(addprefix tests/theory/test_,trust spectrum risk starts transforms phases) tests/theory/rules/test_averaging \
  $(addprefix tests/theory/batches/test_,minibatch approximation training) tests/theory/derivatives/test_covariance \
  $(addprefix tests/rfm/,test_kernels test_rounding expected/test_quadrature)

.PHONY: help ucurve figures test test-kernels accuracy faults bench bench-peer scaling clean

help:
	@echo "make ucurve        set up, run the main experiment, print its table, draw its figure"
	@echo "make figures       run every experiment that has no result yet, draw every figure"
	@echo "make test          set up, then lint, types, tests and doctests"
	@echo "make test-kernels  the accuracy tests again, with the BLAS kernels of other processors: $(KERNELS)"
	@echo "make accuracy      what is claimed of errors, on a thousand ill-conditioned problems against exact arithmetic"
	@echo "make faults        bad input, and runs that are killed, stopped or out of disk, tried for about five minutes"
	@echo "make bench         set up, then the benchmarks (those against neural-tangents only after make bench-peer: 2.7 GB)"
	@echo "make scaling       measure how time and memory grow with the sizes, draw it"
	@echo "make clean         remove the virtual environments and all results"

ucurve: $(VENV)/.installed
	$(BIN)/rfm ucurve

figures: $(VENV)/.installed
	$(BIN)/python -m figures

test: $(VENV)/.installed-dev
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses=2 --dist=loadfile

test-kernels: $(VENV)/.installed-dev
	@if [ "$$(uname -m)" != x86_64 ]; then echo "no x86-64: the BLAS kernels $(KERNELS) are not tried"; exit 0; fi; \
	for kernel in $(KERNELS); do \
	  echo "OPENBLAS_CORETYPE=$$kernel"; \
	  OPENBLAS_CORETYPE=$$kernel OPENBLAS_NUM_THREADS=1 $(BIN)/pytest --numprocesses=2 --dist=loadfile \
	    $(addsuffix .py,$(ACCURACY)) || exit 1; \
	done

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
	rm -rf $(VENV) $(PEER_VENV) results figures/*.pdf figures/*.png

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
