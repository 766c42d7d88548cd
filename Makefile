# make run        the main job on a small real example, a few minutes
# make test       the tests, two to five minutes on two cores: they need Python and this checkout alone
# make test-all   every test but the slow ones: also with the data, a browser, PostgreSQL and a compiler, where these are
# make test-slow  simulations and long trainings, for hours
# make test-clusters  sweeps and searches by a real Ray and, as root where SLURM's daemons are installed, a real SLURM: 20 min;
#                 once it has installed Ray and submitit, make test-all runs one of each
# make test-triton  kernels for a GPU in Triton's interpreter, which it installs (300 MB), and compiled, on the CPU: a few minutes
# make gpu        with a CUDA GPU, in ten minutes: ablate bench gpu, then the tests that need one; by PYTHON, which has ".[gpu,dev]"
# make docs       the documentation as a site, build/site/index.html
# make soak       sweeps and searches broken at random for ten minutes: nothing may be lost (Linux; SOAK="--minutes 60 --seed 2")
# make check      linter, types and every test but the slow ones: what CI runs
# Each creates .venv with the pinned dependencies first. PYTHON=python3.12 chooses another interpreter.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test test-all test-slow test-clusters test-triton gpu soak lint check docs clean

run: $(VENV)/.installed
	$(BIN)/python -m ablate -m model=rnn,gru,lstm num_hiddens=16,32,64 epochs=200 seeds=3 name=example

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2

test-all: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 -m 'not slow'

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -n 2 -m slow

test-clusters: $(VENV)/.clusters
	$(BIN)/python -m pytest -m 'slow or not slow' tests/sweeping/launching

test-triton: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "triton>=3.5"
	$(BIN)/python -m pytest -n 2 -m 'not slow' tests/engines/test_kernels.py tests/engines/test_kernel_launches.py

gpu:
	said=0; $(PYTHON) -m ablate bench gpu --budget 6min || said=1; \
	$(PYTHON) -m pytest -n 8 -m 'not slow' tests/engines/test_kernels_on_gpu.py tests/engines/test_replicas.py::test_a_gpu_computes_the_same || said=1; \
	exit $$said

soak: $(VENV)/.installed
	$(BIN)/python tests/soak $(SOAK)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint test-all

docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --strict

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("ablate needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev,search,postgres,translation]"
	touch $@

$(VENV)/.docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[docs]"
	touch $@

# What the extras slurm and ray name, in the versions of constraints.txt; everything is fetched before anything is installed.
$(VENV)/.clusters-downloaded: $(VENV)/.installed
	$(BIN)/python -m pip download --quiet --disable-pip-version-check --constraint constraints.txt --dest $(VENV)/clusters submitit ray
	touch $@

$(VENV)/.clusters: $(VENV)/.clusters-downloaded
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --no-index --find-links $(VENV)/clusters submitit ray
	touch $@

clean:
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
