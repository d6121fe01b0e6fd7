PYTHON ?= python3
BIN = .venv/bin
# Tests start hundreds of processes: with its bytecode kept, each is there in a third of the time.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: run install test soak check bench lock clean

run: install
	@exec $(BIN)/flask --app app serve

install: .venv/.installed

.venv/.installed: requirements.lock
	@.ci/install $(PYTHON) requirements.lock $@

.venv/.installed-dev: requirements-dev.lock
	@.ci/install $(PYTHON) requirements-dev.lock $@

test: .venv/.installed-dev
	@.ci/browser
	@.ci/sipp
	$(BIN)/python -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

# The fault tests at length: more kills, clients, reports and examples, in about so many minutes.
SOAK_MINUTES ?= 25
SOAKED = $(addprefix tests/, cli/test_mail.py cli/test_worker.py api/test_schema.py api/test_bytes.py)

soak: .venv/.installed-dev
	SOAK_MINUTES=$(SOAK_MINUTES) $(BIN)/python -m pytest -n 2 --dist loadfile tests/faults $(SOAKED)

check: .venv/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict app
	$(BIN)/lint-imports
	$(BIN)/djlint --lint --quiet templates

bench: .venv/.installed-dev
	$(BIN)/python -m tests.bench

lock:
	uv pip compile pyproject.toml --quiet --no-emit-index-url -o requirements.lock
	uv pip compile pyproject.toml --quiet --universal --extra dev -c requirements.lock --no-emit-index-url -o requirements-dev.lock

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache test-results
	find app tests -name __pycache__ -prune -exec rm -rf {} +
