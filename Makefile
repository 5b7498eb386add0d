# Every target is one call of a Python module; `make help` lists them.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
RUN := .venv/bin/python
NAME ?= $(if $(DATA),ham10000,demo)
CHECKPOINT ?= runs/$(NAME)/best.pt
BUNDLE ?=
BUNDLE_FLAG = $(if $(BUNDLE),--bundle $(BUNDLE))
ARGS ?=
.DEFAULT_GOAL := help

.PHONY: help setup setup-onnx2tf setup-consumers demo train cross-validate evaluate export card web run-edge bench bench-train data test test-edge test-legacy test-arm64 test-instruction-sets soak load-test fuzz-uploads lint audit format check clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-22s %s\n", $$1, $$2}' Makefile

setup: .venv/installed webapp/node_modules/.built ## make the virtual environment .venv, and the page's in-browser part where node is
.venv/installed: requirements.txt $(wildcard requirements/*.txt)
	$(PYTHON) -m venv .venv && .venv/bin/pip install --quiet --disable-pip-version-check -r requirements.txt && touch $@

webapp/node_modules/.built: webapp/package-lock.json webapp/build.mjs $(wildcard webapp/static/js/*.js)
	@if command -v npm >/dev/null; then cd webapp && npm ci --silent --no-audit --no-fund && npm run --silent build && touch node_modules/.built; else echo "node is not installed: the page works without its in-browser mode"; fi

.venv-edge/installed: requirements/edge.txt requirements/web.txt requirements/test.txt
	$(PYTHON) -m venv .venv-edge && .venv-edge/bin/pip install --quiet --disable-pip-version-check -r requirements/edge.txt -r requirements/web.txt -r requirements/test.txt && touch $@

.venv-legacy/installed: requirements/edge-legacy.txt requirements/test.txt
	$(PYTHON) -m venv .venv-legacy && .venv-legacy/bin/pip install --quiet --disable-pip-version-check -r requirements/edge-legacy.txt -r requirements/test.txt && touch $@

setup-onnx2tf: .venv-onnx2tf/installed ## make the environment of the second route to TFLite (--tflite-via onnx2tf)
.venv-onnx2tf/installed: requirements/onnx2tf.txt
	$(PYTHON) -m venv .venv-onnx2tf && .venv-onnx2tf/bin/pip install --quiet --disable-pip-version-check -r requirements/onnx2tf.txt && touch $@

setup-consumers: tests/export/consumers/node_modules/.installed ## fetch what the programs of docs/how-to/use-the-model-files.md are run with
tests/export/consumers/node_modules/.installed: tests/export/consumers/package-lock.json
	@if ! command -v npm >/dev/null; then found="node is not installed"; \
	elif ! npm ci --prefix tests/export/consumers --silent --ignore-scripts --no-audit --no-fund; then found="npm could not fetch them"; \
	else touch $@; exit; fi; echo "$$found: the programs in JavaScript, Kotlin and, with onnxruntime, C++ are not run"

demo: setup ## the main job on generated data: train, export, predict with both engines, write Grad-CAM overlays
	$(RUN) -m train --preset demo --name demo
	$(RUN) -m export --checkpoint runs/demo/best.pt --output models/demo
	$(RUN) -m edge_runtime predict $(DEMO_IMAGES) --bundle models/demo --engine onnx --explain runs/demo/maps
	$(RUN) -m edge_runtime predict $(DEMO_IMAGES) --bundle models/demo --engine tflite
	@echo; echo "Done. The bundle is models/demo/, the Grad-CAM overlays are in runs/demo/maps/."
	@echo "Next: make web (then open http://127.0.0.1:8000), make evaluate, make bench, or train on real data: make train DATA=path/to/ham10000"
DEMO_IMAGES = data/demo/HAM10000_images_part_1/ISIC_0000001.jpg data/demo/HAM10000_images_part_1/ISIC_0000002.jpg

train: setup ## fine-tune on DATA=folder (default: generated demo data) from INIT=weights; more flags in ARGS
	$(RUN) -m train --name $(NAME) $(if $(DATA),--data $(DATA),--preset demo) $(if $(INIT),--init $(INIT)) $(ARGS)

cross-validate: setup ## train and judge FOLDS=5 lesion-grouped folds of DATA; prints mean and deviation
	$(RUN) -m train --folds $(or $(FOLDS),5) --name $(NAME) $(if $(DATA),--data $(DATA),--preset demo) $(if $(INIT),--init $(INIT)) $(ARGS)

evaluate: setup ## report on a checkpoint (NAME=run) or a bundle (BUNDLE=folder DATA=folder)
	$(RUN) -m train.evaluate $(if $(BUNDLE),--bundle $(BUNDLE),--checkpoint $(CHECKPOINT)) $(if $(DATA),--data $(DATA)) $(ARGS)

export: setup ## turn the checkpoint of run NAME into the bundle models/NAME, checked against PyTorch
	$(RUN) -m export --checkpoint $(CHECKPOINT) --output models/$(NAME) $(ARGS)

card: setup ## judge the bundle BUNDLE on the held-out images of DATA and write its model card and report
	$(RUN) -m export.card --bundle $(or $(BUNDLE),models/$(NAME)) $(if $(DATA),--data $(DATA)) $(ARGS)

web: setup ## serve the page and the API on http://127.0.0.1:8000
	$(RUN) -m webapp $(BUNDLE_FLAG) $(ARGS)

run-edge: setup ## classify IMAGE=image-or-folder on this machine's processor
	$(RUN) -m edge_runtime predict $(or $(IMAGE),$(error name an image: make run-edge IMAGE=lesion.jpg)) $(BUNDLE_FLAG) $(ARGS)

bench: setup ## how close the runtime is to the bare engines, as ratios of one run
	$(RUN) -m edge_runtime bench --peers $(BUNDLE_FLAG) $(ARGS)

bench-train: setup ## images/s of the training loop against the bare forward and backward pass
	$(RUN) -m train.learning.benchmark $(ARGS)

data: setup ## download HAM10000 (ISIC 2018 task 3)
	$(RUN) -m train.data.download $(ARGS)

test: setup setup-onnx2tf setup-consumers test-edge test-legacy ## every test, also in environments with the device's packages alone
	$(RUN) -m pytest tests/train $(ARGS)
	$(RUN) -m pytest tests/export $(ARGS)
	$(RUN) -m pytest tests --ignore tests/train --ignore tests/export $(ARGS)

test-edge: .venv-edge/installed ## the device's tests with nothing but the device's packages installed
	.venv-edge/bin/python -m pytest tests/edge_runtime -p no:cacheprovider -q

test-legacy: .venv-legacy/installed ## the device's tests with tflite-runtime and numpy 1, as on older Raspberry Pi systems
	.venv-legacy/bin/python -m pytest tests/edge_runtime -p no:cacheprovider -q

test-arm64: setup ## predict on an emulated 64-bit ARM Debian and compare with this machine (slow; needs root)
	$(RUN) tests/arm64/run_arm64.py $(BUNDLE_FLAG) --log docs/arm64.log $(ARGS)

test-instruction-sets: setup ## hold a bundle's int8 answers on emulated processors against this machine's (needs qemu)
	$(RUN) tests/instruction_sets/run_instruction_sets.py $(BUNDLE_FLAG) --log docs/instruction-sets.log $(ARGS)

soak: setup ## 100,000 predictions, watching the memory
	$(RUN) tests/soak/run_soak.py $(BUNDLE_FLAG) $(ARGS)

load-test: setup ## put load on a server of its own on loopback
	$(RUN) -m tools.load_test $(BUNDLE_FLAG) $(ARGS)

fuzz-uploads: setup ## throw 10,000 hostile uploads at a server of its own on loopback
	$(RUN) -m tools.fuzz_uploads $(BUNDLE_FLAG) $(ARGS)

.PHONY: docs
docs: setup .venv-docs/installed ## write the generated pages and build the documentation site in site/
	$(RUN) -m tools.generate_docs && .venv-docs/bin/zensical build --strict --clean
.venv-docs/installed: requirements/docs.txt
	$(PYTHON) -m venv .venv-docs && .venv-docs/bin/pip install --quiet --disable-pip-version-check -r requirements/docs.txt && touch $@

lint: setup ## style, types, import contracts, spelling, security and the workflows' schema
	$(RUN) -m tools.lint

audit: setup ## look the served packages up among known vulnerabilities (asks pypi.org and registry.npmjs.org)
	.venv/bin/pip-audit --requirement requirements/web.txt --disable-pip --no-deps
	cd webapp && npm audit

format: setup ## rewrite the code in the house style
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

check: test lint ## what the continuous integration runs

clean: ## remove environments and caches; data, runs and models stay
	rm -rf .venv .venv-docs .venv-edge .venv-legacy .venv-onnx2tf tests/export/consumers/node_modules .pytest_cache .mypy_cache .ruff_cache build dist site
