# Every target is one call of a Python module or a script; `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := .venv/bin/python
NAME ?= $(if $(DATA),ham10000,demo)
CHECKPOINT ?= runs/$(NAME)/best.pt
FOLDS ?= 5
SAMPLE ?= 300
BUNDLE ?=
BUNDLE_FLAG = $(if $(BUNDLE),--bundle $(BUNDLE))
DATA_FLAG = $(if $(DATA),--data $(DATA))
TRAIN_FLAGS = --name $(NAME) $(if $(DATA),--data $(DATA),--preset demo) $(if $(INIT),--init $(INIT))
PYTEST_FLAGS = $(if $(ARGS),-- $(ARGS))
ARGS ?=
.DEFAULT_GOAL := help

# An environment with the requirements files that its rule names: .venv-edge/installed, say.
ENVIRONMENT = $(PYTHON) -m venv $(@D) && $(@D)/bin/pip install --quiet --disable-pip-version-check $(addprefix -r ,$(filter $(INSTALLED),$^)) && touch $@
INSTALLED ?= %.txt

##@ Start
help: ## show this list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {print "\n" substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
setup: .venv/installed webapp/node_modules/.built ## make the virtual environment .venv, and the page's in-browser part where node is
demo: setup ## the main job on generated data: train, export, predict with both engines, write Grad-CAM overlays
	$(RUN) -m tools.demo
data: setup ## download HAM10000 (ISIC 2018 task 3)
	$(RUN) -m train.data.download $(ARGS)
clean: ## remove environments and caches; data, runs and models stay
	rm -rf .venv .venv-* tests/export/consumers/node_modules .pytest_cache .mypy_cache .ruff_cache .hypothesis mutants build dist site

##@ Train, evaluate, export
train: setup ## fine-tune on DATA=folder (default: generated demo data) from INIT=weights; more flags in ARGS
	$(RUN) -m train $(TRAIN_FLAGS) $(ARGS)
cross-validate: setup ## train and evaluate FOLDS=5 lesion-grouped folds of DATA; prints mean and standard deviation
	$(RUN) -m train --folds $(FOLDS) $(TRAIN_FLAGS) $(ARGS)
evaluate: setup ## report on a checkpoint (NAME=run) or a bundle (BUNDLE=folder DATA=folder)
	$(RUN) -m train.evaluate $(if $(BUNDLE),--bundle $(BUNDLE),--checkpoint $(CHECKPOINT)) $(DATA_FLAG) $(ARGS)
export: setup ## turn the checkpoint of run NAME into the bundle models/NAME, checked against PyTorch
	$(RUN) -m export --checkpoint $(CHECKPOINT) --output models/$(NAME) $(ARGS)
card: setup ## evaluate the bundle BUNDLE on the test images of DATA and write its model card and report
	$(RUN) -m export.card --bundle $(or $(BUNDLE),models/$(NAME)) $(DATA_FLAG) $(ARGS)

##@ Use
run-edge: setup ## classify IMAGE=image-or-folder on this machine's CPU
	$(RUN) -m edge_runtime predict $(or $(IMAGE),$(error name an image: make run-edge IMAGE=lesion.jpg)) $(BUNDLE_FLAG) $(ARGS)
web: setup ## serve the page and the API on http://127.0.0.1:8000
	$(RUN) -m webapp $(BUNDLE_FLAG) $(ARGS)

##@ Test
test-fast: setup ## the quick tests of every package, for the loop while you write
	$(RUN) -m tools.run_tests --fast $(PYTEST_FLAGS)
test: setup setup-onnx2tf setup-consumers .venv-edge/installed .venv-legacy/installed ## every test, also in environments with the device's packages alone
	$(RUN) -m tools.run_tests $(PYTEST_FLAGS)
coverage: setup setup-onnx2tf setup-consumers .venv-edge/installed .venv-legacy/installed ## every test, and the branch coverage of all packages
	$(RUN) -m tools.run_tests --coverage $(PYTEST_FLAGS)
test-edge: .venv-edge/installed ## the device's tests with nothing but the device's packages installed
	.venv-edge/bin/python -m tools.run_tests edge $(PYTEST_FLAGS)
test-legacy: .venv-legacy/installed ## the device's tests with tflite-runtime and numpy 1, as on older Raspberry Pi systems
	.venv-legacy/bin/python -m tools.run_tests legacy $(PYTEST_FLAGS)
mutation: .venv/mutation-installed ## the mutation score of edge_runtime, from a seeded SAMPLE=300 of its mutants
	$(RUN) -m tools.mutation --sample $(SAMPLE) $(ARGS)
lint: setup ## style, types, import contracts, spelling, security and the workflows' schema
	$(RUN) -m tools.lint
format: setup ## rewrite the code in the project's style
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .
audit: setup ## look the served packages up among known vulnerabilities (asks pypi.org and registry.npmjs.org)
	.venv/bin/pip-audit --requirement requirements/web.txt --disable-pip --no-deps && cd webapp && npm audit
check: lint docs test ## what the continuous integration runs

docs: setup .venv-docs/installed ## write the generated pages and build the documentation site in site/
	$(RUN) -m tools.generate_docs && .venv-docs/bin/zensical build --strict --clean

##@ Measure
bench: setup ## the runtime next to plain networks of each engine's own tools and to bare engines, as ratios of one run
	$(RUN) -m tools.plain_networks --output build/plain-networks && $(RUN) -m edge_runtime bench --peers --plain build/plain-networks $(BUNDLE_FLAG) $(ARGS)
bench-train: setup ## images/s of the training loop against the bare forward and backward pass
	$(RUN) -m train.learning.benchmark $(ARGS)
soak: setup ## 100,000 predictions, watching the memory
	$(RUN) tests/soak/run_soak.py $(BUNDLE_FLAG) $(ARGS)
load-test: setup ## put load on a server of its own on loopback
	$(RUN) -m tools.load_test $(BUNDLE_FLAG) $(ARGS)
fuzz-uploads: setup ## throw 10,000 hostile uploads at a server of its own on loopback
	$(RUN) -m tools.fuzz_uploads $(BUNDLE_FLAG) $(ARGS)
test-arm64: setup ## predict on an emulated 64-bit ARM Debian and compare with this machine (slow; needs root)
	$(RUN) tests/arm64/run_arm64.py $(BUNDLE_FLAG) --log docs/arm64.log $(ARGS)
test-instruction-sets: setup ## hold a bundle's int8 predictions on emulated CPUs against this machine's (needs qemu)
	$(RUN) tests/instruction_sets/run_instruction_sets.py $(BUNDLE_FLAG) --log docs/instruction-sets.log $(ARGS)

##@ Release and set-up
release: setup ## build sdist and wheel, check their content, and tell the command that tags the version
	$(RUN) -m tools.release
setup-onnx2tf: .venv-onnx2tf/installed ## make the environment of the second route to TFLite (--tflite-via onnx2tf)
setup-consumers: tests/export/consumers/node_modules/.installed ## fetch what the programs of docs/how-to/use-the-model-files.md are run with

.venv/installed: INSTALLED = requirements.txt
.venv/installed: requirements.txt $(wildcard requirements/*.txt)
	$(ENVIRONMENT)
.venv/mutation-installed: requirements/mutation.txt | setup
	.venv/bin/pip install --quiet --disable-pip-version-check -r $< && touch $@
.venv-edge/installed: requirements/edge.txt requirements/web.txt requirements/test.txt
	$(ENVIRONMENT)
.venv-legacy/installed: requirements/edge-legacy.txt requirements/test.txt
	$(ENVIRONMENT)
.venv-docs/installed: requirements/docs.txt
	$(ENVIRONMENT)
.venv-onnx2tf/installed: requirements/onnx2tf.txt
	$(ENVIRONMENT)
webapp/node_modules/.built: webapp/package-lock.json webapp/build.mjs $(wildcard webapp/static/js/*.js)
	tools/set_up_page.sh
tests/export/consumers/node_modules/.installed: tests/export/consumers/package-lock.json
	tools/set_up_consumers.sh

.PHONY: help setup demo data clean train cross-validate evaluate export card run-edge web test-fast test coverage test-edge test-legacy mutation lint format audit check docs bench bench-train soak load-test fuzz-uploads test-arm64 test-instruction-sets release setup-onnx2tf setup-consumers
