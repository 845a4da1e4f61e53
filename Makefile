# Everything here sets itself up: Python 3.11 or newer and make are all it takes.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
export KERAS_BACKEND ?= torch
# Two test processes share the cores: threads of their own would wait for each other.
test test-all: export OMP_NUM_THREADS = 1

.PHONY: demo test test-all lint docs docs-links bench bench-training bench-search bench-fetch load fuzz models gates notebooks
.DEFAULT_GOAL := demo

demo: $(READY)  ## the whole story on synthetic images, offline
	$(BIN)/melascope demo --out demo

test: $(READY)  ## the fast tests
	$(BIN)/pytest -q -n 2 --dist loadfile --no-loadscope-reorder -m "not slow"

test-all: $(READY)  ## every test, those on real images too where ../shared has them
	$(BIN)/pytest -q -n 2

lint: $(READY)  ## style, types, and the floors of the house
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

SITE := --jobs auto --fresh-env --fail-on-warning --keep-going --doctree-dir build/doctrees --conf-dir docs .
docs: $(READY)  ## README, guides and reference as a site: site/index.html; a broken link is an error
	rm -rf site
	$(BIN)/sphinx-build --quiet $(SITE) site

docs-links: $(READY)  ## asks every address outside the site, where there is a network
	$(BIN)/sphinx-build --builder linkcheck $(SITE) build/links

bench: $(READY)  ## times and throughput on this machine, as JSON and a table
	$(BIN)/python tools/bench.py

bench-training: $(READY)  ## images a second of fine-tuning, beside plain Keras
	$(BIN)/python tools/bench_training.py

bench-search: $(READY)  ## what cutting trials short saves; uses DATA
	$(BIN)/python tools/bench_search.py --data $(DATA) --weights $(WEIGHTS)

bench-fetch: $(READY)  ## fetching images beside the archive's official command, on loopback
	$(BIN)/python tools/bench_fetch.py

load: export OMP_NUM_THREADS = 1
load: $(READY)  ## the server beside the bare predictor, under load
	$(BIN)/python tools/load.py

DATA ?= ../shared/data
WEIGHTS ?= imagenet
models: export KERAS_BACKEND = tensorflow
models: $(READY)  ## the shipped models, from raw data; hours on a CPU, goes on where it was stopped
	$(BIN)/python tools/models.py --data $(DATA) --weights $(WEIGHTS)

SEEDS ?= 1 2 3
gates: $(READY)  ## what the gate of the shipped model refuses when fitted from other SEEDS; after `make models`
	$(BIN)/python tools/gates.py --data $(DATA) --seeds $(SEEDS)

BUDGET ?=
notebooks: export KERAS_BACKEND = tensorflow
notebooks: $(READY)  ## the notebooks on DATA (synthetic: drawn lesions); BUDGET="--trials 40 --size 160" for a larger search
	$(BIN)/python tools/notebooks.py --data $(DATA) --weights $(WEIGHTS) $(BUDGET)

CASES ?= 100000
fuzz: $(READY)  ## mutated files for whatever reads files; CASES=1000000 for longer
	$(BIN)/python tools/fuzz.py image --cases $(CASES)
	$(BIN)/python tools/fuzz.py onnx --cases $(CASES)
	$(BIN)/python tools/fuzz.py keras --cases $(CASES)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@
