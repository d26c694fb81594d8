# Two commands are enough on a fresh machine with Python 3.11 or newer:
#   make compare   the main job on the embedded photographs (report in results/compare)
#   make test      the test suite
# Each sets up the virtual environment .venv and installs if that has not been done.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: install compare modes bench test check format clean

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "equipoise needs Python 3.11 or newer; set PYTHON=/path/to/python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

compare: $(STAMP)
	$(BIN)/equipoise compare --overwrite --out results/compare

# Every way of learning on four tasks at equal training time (table in docs/learning.md): about
# twenty minutes, and about five hours with BUDGET=10m.
BUDGET ?= 40s
modes: $(STAMP)
	for task in denoise inpaint deblur tomography; do \
	  OMP_NUM_THREADS=1 $(BIN)/equipoise compare --task $$task --time-budget $(BUDGET) --crop 128 \
	    --methods bilevel,jacobian-free,source-condition --regularizer crr \
	    --overwrite --out results/modes/crr-$$task && \
	  OMP_NUM_THREADS=1 $(BIN)/equipoise compare --task $$task --time-budget $(BUDGET) --crop 128 \
	    --methods equilibrium,jacobian-free,source-condition --regularizer contractive \
	    --overwrite --out results/modes/contractive-$$task || exit 1; \
	done
	$(BIN)/python docs/make_mode_table.py

# Every benchmark in its short version, at most 15 minutes on two cores that do nothing else; one in
# full: python -m benchmarks NAME. The peers are installed first.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[peers]'
	$(BIN)/python -m benchmarks all --short

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --durations 8

check: $(STAMP)
	$(BIN)/ruff check src tests examples docs benchmarks
	$(BIN)/ruff format --check src tests examples docs benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix src tests examples docs benchmarks
	$(BIN)/ruff format src tests examples docs benchmarks

clean:
	rm -rf $(VENV) build dist results .pytest_cache .mypy_cache .ruff_cache
