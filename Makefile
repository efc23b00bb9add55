# Everything sets itself up: `make test` and `make demo` work on a fresh checkout.
# PYTHON chooses the interpreter of the virtual environment (3.11 or newer).
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: test demo lint bench bench-durable bench-widgets bench-data soak format lock matrix browser clean

# Side by side, file by file: much of the suite waits for real servers and processes. The hash seed
# is fixed because the parts have to agree on the names of the tests. What failed beside others is
# run once more alone, so that a machine that was too busy is told from a test that is broken.
test: $(READY) $(VENV)/.browser
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

# Widgets beside the bare SDK and fastmcp (in a venv of its own, made from PyPI), and ctx.state.
bench-widgets: $(READY)
	$(BIN)/python -m benchmarks.widgets $(ARGS)
	$(BIN)/python -m benchmarks.state

# View sets beside handlers by hand, FastCRUD and Litestar (in a venv of their own, made from PyPI).
bench-data: $(READY)
	$(BIN)/python -m benchmarks.data $(ARGS)

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
	$(BIN)/python tools/lock_browser.py

# Chromium, its driver and the npm packages of hosts and judges. What cannot be had is said, and the
# tests that need it are skipped; then there is no stamp, and the next run tries again.
browser: $(VENV)/.browser

$(VENV)/.browser: $(READY) tests/browser/requirements.lock tests/browser/package-lock.json tools/setup_browser.py
	$(BIN)/python tools/setup_browser.py $@

$(READY): pyproject.toml requirements.lock tools/setup_venv.py
	$(PYTHON) tools/setup_venv.py $(VENV)
	@touch $@

$(VENV)/.bench: $(READY) requirements-bench.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-bench.lock
	@touch $@

clean:
	rm -rf $(VENV) tests/browser/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
