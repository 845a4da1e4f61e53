# Everything here sets itself up: Python 3.11 or newer and make are all it takes.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export KERAS_BACKEND ?= torch
# Two test processes share the cores: threads of their own would wait for each other.
test test-all: export OMP_NUM_THREADS = 1

.PHONY: help demo test test-all lint fix docs docs-links bench load fuzz models gates notebooks

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY)  ## everything once, on synthetic images, offline
	$(BIN)/melascope demo --out demo

test: $(READY)  ## the fast tests
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: $(READY)  ## all tests, with those on real images where ../shared holds them
	$(BIN)/pytest -q -n 2

PROSE := $(wildcard *.md docs/*.md docs/guides/*.md notebooks/*.md)
lint: $(READY)  ## style, types, which room imports which, and prose
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tools/prose.py $(PROSE)

fix: $(READY)  ## format the code, and correct what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

SITE := --jobs auto --fresh-env --fail-on-warning --keep-going --doctree-dir build/doctrees --conf-dir docs .
docs: $(READY)  ## the documentation as a site: site/index.html; a broken link is an error
	rm -rf site
	$(BIN)/sphinx-build --quiet $(SITE) site

docs-links: $(READY)  ## check the links to other sites, over the network
	$(BIN)/sphinx-build --builder linkcheck $(SITE) build/links

WHAT ?= inference
bench-search = --data $(DATA) --weights $(WEIGHTS)
bench: $(READY)  ## speed beside the plain way; WHAT=inference, training, search (on DATA) or fetch
	$(BIN)/python tools/bench_$(WHAT).py $(bench-$(WHAT))

load: export OMP_NUM_THREADS = 1
load: $(READY)  ## the server under load, beside the bare predictor
	$(BIN)/python tools/load.py

DATA ?= ../shared/data
WEIGHTS ?= imagenet
models: export KERAS_BACKEND = tensorflow
models: $(READY)  ## the shipped models from raw DATA; takes hours on a CPU, and resumes
	$(BIN)/python tools/models.py --data $(DATA) --weights $(WEIGHTS)

SEEDS ?= 1 2 3
gates: $(READY)  ## what the gate of the shipped model refuses when fitted with other SEEDS; after make models
	$(BIN)/python tools/gates.py --data $(DATA) --seeds $(SEEDS)

BUDGET ?=
notebooks: export KERAS_BACKEND = tensorflow
notebooks: $(READY)  ## run the notebooks on DATA, or on drawn lesions with DATA=synthetic; BUDGET="--trials 40 --size 160"
	$(BIN)/python tools/notebooks.py --data $(DATA) --weights $(WEIGHTS) $(BUDGET)

CASES ?= 100000
fuzz: $(READY)  ## mutated files against all that reads files; CASES=1000000 for longer
	$(BIN)/python tools/fuzz.py image --cases $(CASES)
	$(BIN)/python tools/fuzz.py onnx --cases $(CASES)
	$(BIN)/python tools/fuzz.py keras --cases $(CASES)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
