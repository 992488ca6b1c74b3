# Two commands: `make up` runs the default fleet, `make test` checks everything.

VENV := .venv
BIN := $(VENV)/bin
# The first interpreter that is new enough; override with PYTHON=...
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
PIP := $(BIN)/pip --disable-pip-version-check -q install -c constraints.txt
TESTS ?= tests
JOBS ?= 2

.PHONY: bench bench-quick conformance gateway-bench listen thousand up test lint types floors unit fmt simulate \
	rpc-differences soak respawn lock clean

up: $(VENV)/.installed
	$(BIN)/orchestra up

test: lint types floors unit

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: Python 3.11 or newer is needed; hint: make PYTHON=/path/to/python3"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.installed
	$(PIP) -e '.[dev]'
	@touch $@

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/pyright

floors: $(VENV)/.dev
	$(BIN)/lint-imports

unit: $(VENV)/.dev
	PYTHONWARNDEFAULTENCODING=1 $(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal $(TESTS)

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The engine on a virtual clock: make simulate SEEDS="1 2000", or one seed to read its story.
SEEDS ?= 0 2000
simulate: $(VENV)/.dev
	$(BIN)/python -m tests.simulation $(SEEDS)

# Random calls to a real supervisord and to Orchestra, answers compared: make rpc-differences SEEDS="0 50", or one seed again.
rpc-differences: $(VENV)/.dev
	$(BIN)/python -m tests.e2e.supervisor.random_calls $(SEEDS)

# The long form of the kill tests: about five minutes (benchmarks/soak.py --help has its other forms).
soak: $(VENV)/.dev
	$(BIN)/python benchmarks/soak.py

# From a crash to the next process, beside fork and exec alone: about two minutes, on a machine that does nothing else.
respawn: $(VENV)/.dev
	$(BIN)/python benchmarks/respawn.py

# Orchestra beside other supervisors: writes docs/benchmarks.md, in under 20 minutes, on a machine that does nothing else.
# PyPI, npm and Debian have to be within reach the first time. `python benchmarks/compare.py --help` has its parts.
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/compare.py

# The same in under a minute: ratios alone, printed and not kept.
bench-quick: $(VENV)/.dev
	$(BIN)/python benchmarks/compare.py --quick

# A thousand services up, restarted, stopped and down, each command timed.
thousand: $(VENV)/.dev
	$(BIN)/python benchmarks/thousand.py

# A service that takes its listening socket, restarted under load: nothing may be refused.
listen: $(VENV)/.dev
	$(BIN)/python benchmarks/listen.py

# What the gateway costs, beside a direct call and other proxies; PyPI and npm have to be within reach.
gateway-bench: $(VENV)/.dev
	$(BIN)/python benchmarks/gateway.py

# The official conformance suite of MCP in both eras: at the front, at the control endpoint of a fleet, and at a server behind
# its gateway; npm installs it into .cache.
conformance: $(VENV)/.dev
	$(BIN)/python -m pytest -q -rs tests/e2e/gateway/test_front_conformance.py tests/e2e/gateway/test_fleet_conformance.py

lock: $(VENV)/.dev
	{ echo '# The versions that the tests were last run with; `make lock` renews them.'; \
	  $(BIN)/pip freeze --exclude-editable; } > constraints.txt

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
