# Each target makes what it needs. Without make: the commands below, with .venv/bin on the PATH.
PYTHON ?= python3
PORT ?= 5006
BIN := .venv/bin
READY := .venv/.ready
# Reference clone for `make bench`, e.g. make bench SATCLIP=~/satclip; without it, our own dense path.
SATCLIP ?=

.PHONY: setup app test lint notebooks bench docs
.DEFAULT_GOAL := app

setup: $(READY)

$(READY): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --requirement requirements.txt
	$(BIN)/python -m pip install --no-deps --editable .
	@touch $@

app: $(READY)
	$(BIN)/panel serve satclip_explore/app.py --port $(PORT) --num-threads 4 --show

test: $(READY)
	$(BIN)/python -m pytest

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

notebooks: $(READY)
	$(BIN)/python -m pytest --nbmake notebooks --nbmake-timeout=300

bench: $(READY)
	$(BIN)/python -m benchmarks.bench_encoder $(if $(SATCLIP),--satclip $(SATCLIP))

docs: $(READY)
	$(BIN)/python -m sphinx -b html -W --keep-going docs site/html
