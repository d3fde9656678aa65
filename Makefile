# Each target makes what it needs. Without make: the commands below, with .venv/bin on the PATH.
PYTHON ?= python3
PORT ?= 5006
BIN := .venv/bin
READY := .venv/.ready
PIP = $(BIN)/python -m pip install
PYTEST = $(BIN)/python -m pytest
# On Linux pip's torch brings CUDA, several GB. TORCH=cpu takes PyTorch's CPU build, 200 MB, and is
# chosen where there is no GPU; with TORCH=default pip decides, and so it does on other systems.
TORCH ?= $(if $(filter Linux,$(shell uname -s)),$(if $(shell command -v nvidia-smi),default,cpu),default)
CPU_TORCH := https://download.pytorch.org/whl/cpu
# Tests that run at a time; each worker of pytest-xdist needs about 1 GB.
WORKERS ?= 2
# Threads of a kernel that runs a notebook: more of them than cores wait for one another.
THREADS := $(shell expr $$(getconf _NPROCESSORS_ONLN) / $(WORKERS) \| 1)
# Reference clone for `make bench`, e.g. make bench SATCLIP=~/satclip; without it, our own dense path.
SATCLIP ?=

# The tests start many programs: each would compile every module of the package anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup app test check lint docs notebooks binder fuzz bench gpu lock audit
.DEFAULT_GOAL := app

setup: $(READY)

$(READY): requirements.lock requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
ifeq ($(TORCH),cpu)
	@echo "Downloading less than 1 GB (torch for the CPU; make TORCH=default lets pip choose): 2.5 GB in .venv."
	$(PIP) --no-deps --retries 1 --timeout 15 --index-url $(CPU_TORCH) $$(grep -o '^torch==[^ ]*' requirements.txt) \
		|| echo "PyTorch's CPU builds cannot be reached; pip chooses, and may take several GB."
else
	@echo "Downloading what pip chooses for torch, on Linux several GB (make TORCH=cpu: less than 1 GB)."
endif
	$(PIP) --no-deps --require-hashes --requirement requirements.lock
	$(PIP) --requirement requirements.txt
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $@

app: $(READY)
	$(BIN)/panel serve satclip_explore/app.py --address localhost --port $(PORT) --num-threads 4 --plugins satclip_explore.panes.served.tiles --show

# Loading what runs notebooks takes seconds, in each process.
test: $(READY)
	$(PYTEST) -p no:nbmake --numprocesses=$(WORKERS)

# What keeps one core busy goes side by side. The tests come last: their last line counts them.
check: $(READY)
	$(MAKE) --jobs=2 --output-sync=target lint docs notebooks binder
	$(MAKE) test

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(READY)
	$(BIN)/python -m sphinx -q -b html -W --keep-going docs site/html
	$(PYTEST) -m site tests/test_docs.py

notebooks: $(READY)
	OMP_NUM_THREADS=$(THREADS) $(PYTEST) --numprocesses=$(WORKERS) --nbmake notebooks --nbmake-timeout=300

binder: $(READY)
	$(PYTEST) -m install tests/test_binder.py

# 100,000 bent files, addresses and requests each, in place of 2,000: hours.
fuzz: $(READY)
	$(PYTEST) --numprocesses=$(WORKERS) --hypothesis-profile=fuzz tests/test_fuzz.py tests/panes/test_fuzz_requests.py tests/files/test_dialects.py

bench: $(READY)
	$(BIN)/python -m benchmarks.bench_encoder $(if $(SATCLIP),--satclip $(SATCLIP))

# At most eight minutes. Without a GPU the CPU's column alone, and a line that says so.
gpu: $(READY)
	@if $(BIN)/python -c 'import torch; exit(not torch.cuda.is_available())'; then $(PYTEST) -m gpu --numprocesses=0; fi
	$(BIN)/python -m benchmarks.bench_gpu

# Both ask public servers. torch is not locked: which build it is, and CUDA with it, is the machine's.
lock: $(READY)
	$(PIP) --quiet uv
	$(BIN)/python -m uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes \
		--no-emit-package torch --no-annotate --no-header --quiet --output-file requirements.lock

audit: $(READY)
	$(PIP) --quiet pip-audit
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock
