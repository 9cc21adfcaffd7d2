# Commands of the project; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
export PATH := $(CURDIR)/$(BIN):$(PATH)
# system certificates include those of a company proxy
export UV_SYSTEM_CERTS := true
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
# with PYTHONWARNINGS=error, warnings of dvc and libraries would end every command
unexport PYTHONWARNINGS

# A virtual environment holds its path: after a move of the checkout it has to be rebuilt.
READY := $(VENV)/.ready
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

.DEFAULT_GOAL := help
.PHONY: help setup repro study test test-fast check docs difficulty parity schema lock ui dashboard plots backup clean

help: ## list the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## install requirements.lock into .venv

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'medscreen needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11'; exit 1; }
	@echo 'Installing into $(VENV) (once, a few minutes: PyTorch is large)'
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip --disable-pip-version-check install --quiet uv==$(UV_VERSION)
	@$(UV) pip sync --quiet --python $(BIN)/python --compile-bytecode requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@$(BIN)/python -m medscreen.reporting.dvc_plots_page
	@echo '$(CURDIR)' > $(READY)

repro: $(READY) ## run the pipeline; DATASET=name activates that entry of params.yaml first
	@medscreen use $(DATASET)
	@dvc repro
	@echo
	@echo 'Next: make ui (browse the runs), make plots (curves), or, after `source $(BIN)/activate`,'
	@echo '      medscreen predict IMAGE... (screen your own).'

study: $(READY) ## search hyperparameters of DETECTOR=name in params.yaml; TRIALS=number, APPLY=1 to use the best
	@medscreen study $(DETECTOR) $(if $(TRIALS),--trials $(TRIALS)) $(if $(filter-out 0,$(APPLY)),--apply)

# tests of a file share fixtures, so they stay in one process; each process computes on one thread
PYTEST = OMP_NUM_THREADS=1 pytest --numprocesses logical --maxprocesses 4 --dist loadfile
test: $(READY) ## run all tests, in up to four processes
	@$(PYTEST)

test-fast: $(READY) ## run the fast tests: no kills, DVC, servers or browser
	@$(PYTEST) -m 'not slow'

check: $(READY) ## run ruff, mypy, import contracts, architecture tests and the build of the documentation
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports --no-cache
	@pytest tests/architecture
	@$(DOCS) --quiet

# --strict fails on missing pages; the variable silences the notice on Material for MkDocs, maintained until May 2027
DOCS = NO_MKDOCS_2_WARNING=1 mkdocs build --strict
docs: $(READY) ## build the documentation for offline use: site/index.html
	@$(DOCS)

difficulty: $(READY) ## measure the difficulty of the phantom: AUROC of the roster on val over five seeds (5 minutes)
	@python benchmarks/phantom_difficulty.py

parity: $(READY) ## docs/parity.md: the notebooks' recipes as written and as corrected; FOLDER=of pneumoniamnist.npz (2 hours)
	@PYTHONPATH=benchmarks python -m parity $(if $(FOLDER),--pneumoniamnist $(FOLDER))

lock: ## update requirements.lock from pyproject.toml
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --group dev pyproject.toml -o requirements.lock

schema: $(READY) ## write docs/params.schema.json: keys, types and ranges of params.yaml for editors
	@python -c 'from medscreen.config.json_schema import params_schema; print(params_schema(), end="")' > docs/params.schema.json

ui: $(READY) ## open MLflow on mlruns/ at http://127.0.0.1:5000
	@medscreen ui

dashboard: $(READY) ## open optuna-dashboard on the studies at http://127.0.0.1:8080
	@medscreen dashboard

plots: $(READY) ## write the curves of all detectors as one offline page
	@dvc plots show

backup: $(READY) ## back up the MLflow history to mlruns-DATE.tar.gz; `medscreen restore FILE` restores it
	@medscreen backup

clean: ## remove environment, phantom and caches; results and the MLflow history are kept
	@rm -rf $(VENV) .medscreen data/phantom dvc_plots site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
