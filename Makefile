# Everything sets itself up: `make test` and `make demo` work on a fresh checkout.
# PYTHON chooses the interpreter of the virtual environment (3.11 or newer).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: test demo lint bench bench-durable soak format lock matrix clean

# Side by side, file by file: much of the suite waits for real servers and processes. The hash seed
# is fixed because the parts have to agree on the names of the tests. What failed beside others is
# run once more alone, so that a machine that was too busy is told from a test that is broken.
test: $(READY)
	PYTHONHASHSEED=0 $(BIN)/python -m pytest -n auto --dist loadfile $(ARGS) \
	|| PYTHONHASHSEED=0 $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(ARGS)

demo: $(READY)
	$(BIN)/python -m examples.shop.demo

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(READY) $(VENV)/.bench
	$(BIN)/python -m benchmarks

# Durable tasks beside other systems, each in a venv of its own (made by `setup`, from PyPI).
bench-durable: $(READY)
	$(BIN)/python -m benchmarks.durable setup --python $(PYTHON)
	$(BIN)/python -m benchmarks.durable --python $(PYTHON) $(ARGS)

# Mixed load with kills for SECONDS (20 minutes unless you say otherwise).
soak: $(READY)
	$(BIN)/python tools/soak.py $(ARGS)

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The same tests against the oldest and other supported FastAPI versions, each in a venv of its own.
matrix: $(READY)
	$(BIN)/python tools/matrix.py $(ARGS)

# Pins every dependency with its hashes. --no-annotate keeps the file short; no index is named in it.
lock: $(READY)
	$(BIN)/python tools/lock.py

$(READY): pyproject.toml requirements.lock tools/setup_venv.py
	$(PYTHON) tools/setup_venv.py $(VENV)
	@touch $@

$(VENV)/.bench: $(READY) requirements-bench.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-bench.lock
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
