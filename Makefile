# Needs only Python 3.11 or newer, and make. Everything is installed into .venv, at the versions of constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
# eval brings METEOR and SPICE, and the reference that the metrics are compared with: make test EXTRAS=train,serve,dev,eval
EXTRAS ?= train,serve,dev
# Threads that spin while they wait take the processor from each other.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test test-all test-base check format bench bench-peers pretrained clean

demo: .venv/installed            ## train on the drawn scenes, then caption held-back ones (minutes)
	$(BIN)/python build_and_run.py
	$(BIN)/python run_captioner.py runs/scenes/examples/*.png --model runs/scenes/bundle --references runs/scenes/examples/captions.txt

test: check                      ## all checks and the quick tests
	$(BIN)/python -m pytest -m "not slow"

test-all: check                  ## the slow tests too
	$(BIN)/python -m pytest

test-base:                       ## the torch-free tests in an environment with the wheel's own requirements alone
	sh tests/base_install.sh $(PYTHON)

check: .venv/installed           ## style, types and import direction
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: .venv/installed           ## speed and memory on this machine → benchmarks/results
	$(BIN)/python benchmarks/speed.py --count 2000 --vgg-count 100
	$(BIN)/python benchmarks/training.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/batch.py
	$(BIN)/python benchmarks/scale.py
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/caption.py
	$(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/metrics.py
	$(BIN)/python benchmarks/table.py

bench-peers: .venv/installed .venv-peers/installed   ## beside the classic Keras recipe, BLIP and plain PyTorch
	$(BIN)/python benchmarks/peers/compare.py
	$(BIN)/python benchmarks/table.py

PRETRAINED = $(BIN)/python build_and_run.py --data $(DATA)
pretrained: .venv/installed      ## train the captioner that ships: make pretrained DATA=FLICKR8K ENCODER=MOBILENET (hours)
	$(PRETRAINED) --config configs/flickr8k_attention.yaml --encoder $(ENCODER) --out runs/attention
	$(PRETRAINED) --config configs/flickr8k_finetuned.yaml --encoder $(ENCODER) --start-from runs/attention --out runs/finetuned
	$(PRETRAINED) --config configs/flickr8k_transformer.yaml --encoder runs/finetuned --quantize int8 --out runs/transformer
	$(PRETRAINED) --config configs/flickr8k_attention.yaml --encoder runs/finetuned --views 6 --epochs 8 --learning-rate 0.0015 --average 0.998 --seed 2 --quantize int8 --out runs/attention-2
	$(PRETRAINED) --config configs/flickr8k_distilled.yaml --out runs/distilled
	$(PRETRAINED) --config configs/flickr8k_pretrained.yaml --model-card docs/model-card.md --out runs/pretrained

clean:
	rm -rf .venv .venv-base .venv-peers build dist *.egg-info

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "captioner needs Python 3.11 or newer; call make PYTHON=python3.11 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

.venv-peers/installed: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv .venv-peers
	.venv-peers/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers/requirements.txt
	touch $@
