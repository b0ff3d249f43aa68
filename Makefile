# Everything a person or CI runs. `make help` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.complete
CCXT44 := .compat/ccxt44
AIOHTTP310 := .compat/aiohttp310
PYTEST := $(BIN)/python -m pytest
# Tests of real processes wait more than they compute; those that measure time run alone afterwards.
WORKERS ?= 3
SEEDS ?= 200

.PHONY: $(shell grep -oE '^[a-z-]+:' $(firstword $(MAKEFILE_LIST)) | tr -d :)

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(firstword $(MAKEFILE_LIST)) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

venv: $(STAMP)  ## a complete virtual environment in .venv

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "jackstay needs Python 3.11 or newer, found %s; try: make PYTHON=python3.12" % sys.version.split()[0])'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)  ## watch an agent save a bot
	$(BIN)/jackstay demo

compat: $(CCXT44)/.complete $(AIOHTTP310)/.complete  ## the older ccxt that many bots pin, beside the newer one

$(CCXT44)/.complete: | $(STAMP)
	mkdir -p $(CCXT44)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(CCXT44) 'ccxt==4.4.60'
	@touch $@

# ccxt.pro of 4.4.60 calls a parser of aiohttp's that 3.11 no longer shows (WebSocketReader.parse_frame)
$(AIOHTTP310)/.complete: | $(STAMP)
	mkdir -p $(AIOHTTP310)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --target $(AIOHTTP310) 'aiohttp==3.10.11'
	@touch $@

postgresql:  ## Debian's PostgreSQL server, for the test of the example database module; where it can be installed
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	{ [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && apt-get update -qq && \
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >/dev/null; } || \
	echo "no PostgreSQL server here and no way to install one; its test will skip"

test: $(STAMP) compat postgresql  ## all tests but soak; those that measure time run alone, afterwards
	@failed=0; rm -f .pytest_cache/flaky; \
	tests/again.sh beside $(PYTEST) -n $(WORKERS) --dist loadfile -m 'not serial and not soak' || failed=$$?; \
	tests/again.sh alone $(PYTEST) -m 'serial and not soak' || failed=$$?; \
	PYTHONPATH=$(CURDIR)/$(CCXT44) \
	tests/again.sh ccxt44 $(PYTEST) tests/e2e/test_ccxt_parity.py tests/client/test_ccxt.py || failed=$$?; \
	PYTHONPATH=$(CURDIR)/$(CCXT44):$(CURDIR)/$(AIOHTTP310) \
	tests/again.sh pro44 $(PYTEST) tests/e2e/test_ccxt_pro.py -k sockets_that_die || failed=$$?; \
	exit $$failed

test-fast: $(STAMP)  ## what runs in seconds
	$(PYTEST) -n $(WORKERS) --dist loadfile -m 'not serial and not slow and not soak' --ignore tests/e2e

check: $(STAMP)  ## format, lint, types, layout and directions
	$(BIN)/ruff format --check agent client protocols tests docs/examples
	$(BIN)/ruff check agent client protocols tests docs/examples
	$(BIN)/mypy
	$(PYTEST) tests/layout

fmt: $(STAMP)  ## format and mend what can be mended
	$(BIN)/ruff format agent client protocols tests docs/examples
	$(BIN)/ruff check --fix agent client protocols tests docs/examples

bench: $(STAMP)  ## measure, side by side in one run; rows in .bench/result.json
	$(BIN)/python tests/bench/run.py

cover: $(STAMP)  ## branch coverage of the core by its own tests; below 100 % fails
	$(BIN)/python -m coverage run --branch --source=agent/jackstay_agent/core -m pytest tests/agent/core
	$(BIN)/python -m coverage report --show-missing --fail-under=100

sim: $(STAMP)  ## the simulation over SEEDS fresh seeds; SEED=x replays one, MUTANTS=1 plants bugs
	cd tests && ../$(BIN)/python -m simulation $(if $(SEED),--seed $(SEED) $(if $(SHRINK),--shrink),$(if $(MUTANTS),--mutants,--seeds $(SEEDS) $(if $(BASE),--base $(BASE))))

trading-day: $(STAMP)  ## half an hour of busy trading in virtual time (SECONDS, SEED): no discrepancy may be told
	cd tests && ../$(BIN)/python -m simulation.trading_day $(or $(SECONDS),1800) $(or $(SEED),day)

fuzz: $(STAMP)  ## bytes nobody should send, for SECONDS per target
	cd tests && ../$(BIN)/python -m fuzz --seconds $(or $(SECONDS),10)

soak: $(STAMP)  ## HOURS of a bot (RATE/s), a feed (FEED/s) and faults without a pause; graphs, violations, slopes
	cd tests && ../$(BIN)/python -m soak --hours $(or $(HOURS),1) --rate $(or $(RATE),300) --feed $(or $(FEED),5000) $(if $(SEED),--seed $(SEED))

soak-tests: $(STAMP)  ## the tests that run for minutes
	$(PYTEST) -m soak -s

restarts: $(STAMP)  ## a ccxt bot at RATE (500) calls/s through RESTARTS (100) restarts and KILLS (20) kill -9, real systemd; upgrades by pip
	$(PYTEST) -m soak -s $(addprefix tests/,systemd/test_restarts.py systemd/test_handover.py e2e/test_upgrade.py e2e/test_installations.py)

recoveries: $(STAMP)  ## each recovery with the bot stopped, the agent killed at every step, one death a run (20 minutes)
	$(PYTEST) -s -m 'soak or not soak' --timeout 300 tests/e2e/test_core_promise.py

# seconds-long versions of these are in `make test`
PROOFS := $(addprefix tests/e2e/test_,lost_replies.py ccxt_retries.py outcome_matrix.py kills.py outage.py)

prove-outbox: $(STAMP)  ## the promises of the outbox in full size (an hour) and what the journal costs
	PROVE=full $(PYTEST) -s -m 'soak or not soak' --timeout 3600 $(PROOFS)
	$(BIN)/python tests/bench/bench_outbox.py

prove-retries: $(STAMP)  ## of these: 5,000 orders a venue by a ccxt bot that places again on every NetworkError
	PROVE=full $(PYTEST) -s --timeout 3600 tests/e2e/test_ccxt_retries.py $(if $(VENUE),-k $(VENUE))

prove-matrix: $(STAMP)  ## of these: every shape of order whose reply or request is lost, as a table
	PROVE=full $(PYTEST) -s --timeout 3600 tests/e2e/test_outcome_matrix.py

# seconds-long versions of these are in `make test`
UP := $(addprefix tests/,agent/test_feeds_over_time.py faults/test_half_open.py e2e/test_bulkhead.py e2e/test_rotation.py e2e/test_slow_reader.py)

prove-connections: $(STAMP)  ## connections and feeds in full size (15 minutes), and what they cost beside other clients
	$(PYTEST) -s -m 'soak or not soak' --timeout 600 $(UP)
	$(BIN)/python tests/bench/run.py reconnect feed

clean:  ## remove what was made, .venv included
	rm -rf $(VENV) .compat .bench .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage
