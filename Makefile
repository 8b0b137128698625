# `make demo` and `make test` work on a fresh machine with Python 3.11 and make; no compiler is needed.
PYTHON ?= python3.11
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
RUN = runs/digit_recall

.PHONY: demo test check install report-published clean

install: $(READY)

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

# Search, quantize, export and report on real handwritten digits. Stopped, it goes on where it was.
demo: $(READY)
	$(BIN)/plastic-search run digit_recall --out $(RUN)
	$(BIN)/plastic-search quantize $(RUN)
	$(BIN)/plastic-search export $(RUN)
	@$(BIN)/plastic-search report $(RUN) > /dev/null
	@echo "the report: $(RUN)/report.html"
	@echo "its JSON companion: $(RUN)/report.json"

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The page under reports/ is written again from the demo's run folder.
report-published: demo
	$(BIN)/plastic-search report $(RUN) --out reports/digit_recall

clean:
	rm -rf $(VENV) runs
