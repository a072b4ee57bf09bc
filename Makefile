# make demo | test | validate | lint. A virtual environment is made in $(VENV) the first time.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: demo test validate lint clean

demo: $(VENV)/.installed
	$(BIN)/pyness run double-well --engine torch --out runs/double-well --resume

# two workers of one thread each, whole files to a worker: twice as fast on two cores as one worker of two threads
test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

validate: $(VENV)/.installed
	$(BIN)/python -m pytest -m validate

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "pyness needs Python 3.11 or later, $(PYTHON) is older: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV)
