# Every target installs what it needs into .venv, once.
PYTHON ?= python3
BIN := .venv/bin
PIP_INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
# `make -j train export` must still train first.
.NOTPARALLEL:
.PHONY: help demo test serve train export report records convolution lint format proto bench load-test compose-test \
  constraints clean

help: ## show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: .venv/light ## classify drawn digits with the released model, without torch
	$(BIN)/python -m clients.demo

test: .venv/dev ## run all tests
	$(BIN)/python -m pytest

serve: .venv/light ## serve the newest model, and the playground, in the foreground
	@deploy/serve.sh $(BIN)

train: .venv/train ## train LeNet5 on MNIST into runs/latest
	$(BIN)/lenet-train $(TRAIN_FLAGS)

export: .venv/train ## export runs/latest as the next version under models/lenet5
	$(BIN)/lenet-export

report: .venv/train ## picture runs/latest: filters, maps, curves, mistakes, calibration, into out/report
	$(BIN)/lenet-report $(REPORT_FLAGS)

records: .venv/train ## measure training over many seeds into docs/records.md; takes hours, and resumes
	$(BIN)/lenet-records $(RECORDS_FLAGS)

convolution: .venv/train ## print a convolution worked out by hand, and train a tiny CNN with it
	$(BIN)/lenet-convolution
	$(BIN)/lenet-convolution learn

lint: .venv/dev ## check style, format and types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

format: .venv/dev ## mend style and format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

proto: .venv/dev ## compile the contract into the code beside it
	PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -I proto \
	  --python_out=proto --grpc_python_out=proto --mypy_out=proto --mypy_grpc_out=proto lenet/v1/digits.proto

bench: .venv/dev ## measure against other servers, side by side, into benchmarks/ (needs h2load; takes 25 minutes)
	$(BIN)/python -m benchmarks.side_by_side $(BENCH_FLAGS)

load-test: .venv/load ## load a server of its own, or LOAD_TARGET=host:port, with checked calls; report in out/load-test.html
	$(BIN)/locust --locustfile clients/locustfile.py --headless --only-summary --users 16 --spawn-rate 16 --run-time 20s \
	  --html out/load-test.html $(if $(LOAD_TARGET),--host $(LOAD_TARGET),--own-server) $(LOAD_FLAGS)

compose-test: .venv/light ## start the compose file on a real Docker engine, ask the server, stop it
	deploy/compose-test.sh

constraints: ## pin the versions that `make test` installs now
	rm -rf .venv
	$(MAKE) .venv/dev PIP_INSTALL="$(BIN)/pip install --quiet"
	{ grep '^#' constraints.txt; $(BIN)/pip freeze --exclude-editable | grep -v '^nvidia-\|^cuda-' \
	  | sed 's/^onnxruntime==\(.*\)/&\nonnxruntime-gpu==\1/'; } > constraints.new
	mv constraints.new constraints.txt

clean: ## remove what the targets installed, built and drew
	rm -rf .venv out build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/light: pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP_INSTALL) --editable '.[serving,cli,playground]'
	@touch $@

.venv/load: pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP_INSTALL) --editable '.[serving,load]'
	@touch $@

.venv/train: pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP_INSTALL) --editable '.[train]'
	@touch $@

.venv/dev: pyproject.toml constraints.txt | .venv/bin/pip
	$(PIP_INSTALL) --editable '.[dev]'
	@touch $@ .venv/light .venv/load .venv/train
