# make demo · make test · make bench · make lint: each sets up what it needs. `make demo ARGS=--json` passes options on.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Whichever test process is done first takes over what another has left.
TOGETHER := -n auto --dist worksteal
PROTOS := $(sort $(wildcard protos/sluss/v1/*.proto))

.PHONY: demo test campaign bench lint types protos proto-lint drift clean

# A stamp that depends on pyproject.toml: a pull that changes the dependencies installs them.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY)
	$(BIN)/sluss demo $(ARGS)

test: $(READY)
	$(BIN)/pytest $(TOGETHER) $(ARGS)

campaign: $(READY)
	$(BIN)/pytest $(TOGETHER) --campaign $(ARGS)

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

proto-lint: $(READY)
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code

# The stubs are committed; `drift` generates them anew elsewhere and compares.
protos: $(READY)
	$(BIN)/python -m tests.house.stubs write

drift: $(READY)
	$(BIN)/python -m tests.house.stubs check

clean:
	rm -rf $(VENV) build dist
