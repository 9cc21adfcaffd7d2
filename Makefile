# The commands of the project; `make help` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(BIN)/uv
UV_VERSION := 0.13.9
export PATH := $(CURDIR)/$(BIN):$(PATH)
# certificates of the system: those of a company's proxy are there, too
export UV_SYSTEM_CERTS := true
export DVC_NO_ANALYTICS := 1
export MLFLOW_DISABLE_TELEMETRY := true
# dvc and the libraries warn on their own: as errors, their warnings would end every command
unexport PYTHONWARNINGS

# An environment knows its own path: after a move of the checkout it has to be made again.
READY := $(VENV)/.ready
ifneq ($(shell cat $(READY) 2>/dev/null),$(CURDIR))
.PHONY: $(READY)
endif

.DEFAULT_GOAL := help
.PHONY: help setup repro study test test-fast check docs difficulty parity schema lock ui dashboard plots backup clean

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

setup: $(READY) ## make .venv with everything in requirements.lock

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

repro: $(READY) ## run the pipeline; DATASET=name makes that entry of params.yaml active first
	@medscreen use $(DATASET)
	@dvc repro
	@echo
	@echo 'Next: make ui (browse the runs), make plots (curves), or, after `source $(BIN)/activate`,'
	@echo '      medscreen predict IMAGE... (screen your own).'

study: $(READY) ## search settings of DETECTOR=name, an entry of studies: in params.yaml; TRIALS=number, APPLY=1 writes them
	@medscreen study $(DETECTOR) $(if $(TRIALS),--trials $(TRIALS)) $(if $(filter-out 0,$(APPLY)),--apply)

# a file of tests stays in one process, which shares what its tests look at; each process computes on one thread
PYTEST = OMP_NUM_THREADS=1 pytest --numprocesses logical --maxprocesses 4 --dist loadfile
test: $(READY) ## run the tests, as many files at once as there are cores, four at most
	@$(PYTEST)

test-fast: $(READY) ## run the tests that take no minutes: no kills, no DVC, no servers, no browser
	@$(PYTEST) -m 'not slow'

check: $(READY) ## ruff, mypy, import contracts, the dependencies that dvc.yaml lists, links of the documentation
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports --no-cache
	@pytest tests/architecture
	@$(DOCS) --quiet

# a link or page that does not exist ends it; the variable silences the notice that Material for MkDocs is maintained until May 2027
DOCS = NO_MKDOCS_2_WARNING=1 mkdocs build --strict
docs: $(READY) ## the documentation as a site that needs no network: site/index.html
	@$(DOCS)

difficulty: $(READY) ## how hard the phantom is: AUROC on val of the roster over five seeds (5 minutes)
	@python benchmarks/phantom_difficulty.py

parity: $(READY) ## docs/parity.md: the notebooks' recipes as written and as corrected; FOLDER=of pneumoniamnist.npz (2 hours)
	@PYTHONPATH=benchmarks python -m parity $(if $(FOLDER),--pneumoniamnist $(FOLDER))

lock: ## write requirements.lock anew from pyproject.toml
	@$(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --group dev pyproject.toml -o requirements.lock

schema: $(READY) ## docs/params.schema.json: keys, types and ranges of params.yaml for editors
	@python -c 'from medscreen.config.json_schema import params_schema; print(params_schema(), end="")' > docs/params.schema.json

ui: $(READY) ## MLflow on mlruns/, at http://127.0.0.1:5000
	@medscreen ui

dashboard: $(READY) ## optuna-dashboard on the studies of this checkout, at http://127.0.0.1:8080
	@medscreen dashboard

plots: $(READY) ## the curves of every detector as one page that needs no network
	@dvc plots show

backup: $(READY) ## MLflow's history as one file, mlruns-DATE.tar.gz; `medscreen restore FILE` brings it back
	@medscreen backup

clean: ## remove the environment, the phantom and caches; results and MLflow's history stay
	@rm -rf $(VENV) .medscreen data/phantom dvc_plots site .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
