# Every target installs what it needs into .venv first: see scripts/setup.sh.

python := .venv/bin/python
setup := @sh scripts/setup.sh

.NOTPARALLEL:
.PHONY: help demo studio test slow check notebooks bench theorems optax docs format constraints clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

demo:  ## train a network on digits and check the laws of its training
	$(setup) demo
	@echo "Running the demo ..."
	@.venv/bin/lagrangian demo

studio:  ## derive, simulate and verify on a page in the browser
	$(setup) studio
	@.venv/bin/lagrangian studio

test:  ## the tests, doctests included, without the slow ones
	$(setup) test
	@echo "Running the tests ..."
	@$(python) -m pytest -n 2 -m "not slow"

slow:  ## the slow tests only, those against other engines included
	$(setup) test bench
	@echo "Running the slow tests ..."
	@$(python) -m pytest -n 2 -m slow

# The type checker reads the packages of the extras demo and studio, too.
check:  ## lint, formatting, types and the direction of imports
	$(setup) demo studio check
	@echo "Checking lint ..."
	@.venv/bin/ruff check
	@echo "Checking the format (make format repairs it) ..."
	@.venv/bin/ruff format --check
	@echo "Checking types ..."
	@.venv/bin/ty check
	@echo "Checking the direction of imports ..."
	@.venv/bin/lint-imports --no-logo

notebooks:  ## run every notebook
	@if ls notebooks/*.ipynb >/dev/null 2>&1; then \
		sh scripts/setup.sh notebooks && \
		echo "Running the notebooks ..." && \
		$(python) -m pytest --nbmake --nbmake-timeout=600 notebooks/*.ipynb; \
	else \
		echo "There are no notebooks in notebooks/: nothing to run."; \
	fi

bench:  ## run every benchmark
	@if ls benchmarks/*.py >/dev/null 2>&1; then \
		sh scripts/setup.sh test bench || exit 1; \
		for file in benchmarks/*.py; do \
			echo "Running $$file ..."; \
			$(python) "$$file" || exit 1; \
		done; \
	else \
		echo "There are no benchmarks in benchmarks/: nothing to run."; \
	fi

theorems:  ## verify every theorem, and write docs/theorems.md and its pages anew
	$(setup) demo
	@$(python) scripts/document_theorems.py

optax:  ## read every transformation of optax, and write docs/optax.md anew
	$(setup) test
	@$(python) scripts/document_optax.py

docs:  ## build the site of the documentation in site/
	$(setup) docs
	@$(python) scripts/build_docs.py

format:  ## sort imports, repair lint where that is safe, and format
	$(setup) check
	@.venv/bin/ruff check --fix
	@.venv/bin/ruff format

constraints:  ## resolve the tested versions of all dependencies anew
	@sh scripts/constraints.sh

clean:  ## remove .venv and all caches
	@echo "Removing .venv and caches ..."
	@rm -rf .venv .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
