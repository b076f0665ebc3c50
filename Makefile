# make sweep   set up and run the quickstart study        make test    set up and pass the tests
# make quick   the tests without the slow ones            make lint    formatting, lint
# make bench   the benchmarks, printed as ratios          make chaos   ROUNDS=25 studies disturbed at random
# make paper   paper.pdf: a page of STUDY's tables and figures (needs pdflatex)
# make docs    build the pages into site/                 make clean   remove .venv and site/
PYTHON ?= $(shell command -v python3.11 || command -v python3)
STUDY ?= quickstart
STORAGE ?= $(or $(SWEEPER_STORAGE),sweeps)
BIN := .venv/bin

.PHONY: sweep paper test quick lint bench chaos docs clean

# torch first and alone: asked for together with the rest, a resolver may weigh other builds of it
.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(f"Python 3.11 or newer is needed, found {v[0]}.{v[1]}" if v < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

sweep: .venv/ready
	$(BIN)/sweeper run $(STUDY) $(ARGS)

# twice, for the numbers of tables and figures; STUDY's file is named as the study is
paper: .venv/ready
	@command -v pdflatex > /dev/null || { echo 'make paper needs pdflatex and booktabs: apt-get install --no-install-recommends texlive-latex-recommended' >&2; exit 2; }
	$(BIN)/sweeper run $(STUDY) --storage $(STORAGE) $(ARGS)
	@folder='$(STORAGE)/studies/$(basename $(notdir $(STUDY)))'; for i in 1 2; do \
	  pdflatex -interaction=batchmode -halt-on-error -output-directory="$$folder" -jobname=paper \
	    "\\def\\study{$(basename $(notdir $(STUDY)))}\\def\\folder{$$folder}\\input{docs/paper}" > /dev/null \
	    || { tail -n 20 "$$folder/paper.log" >&2; exit 1; }; done; \
	  rm "$$folder"/paper.aux "$$folder"/paper.log; echo "$$folder/paper.pdf"

# what is slow starts processes of its own, one test at a time; exit code 5: nothing was chosen
test: quick
	$(BIN)/python -m pytest -m slow $(ARGS) || [ $$? = 5 ]

quick: .venv/ready
	$(BIN)/python -m pytest -m 'not slow' --numprocesses auto --dist loadgroup $(ARGS) || [ $$? = 5 ]

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: .venv/ready
	$(BIN)/python -m tests.benchmarks $(ARGS)

chaos: .venv/ready
	$(BIN)/python -m tests.chaos

docs: .venv/ready
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo site/index.html

clean:
	rm -rf .venv site
