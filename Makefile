# Two commands for a fresh machine with python3 and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
SOURCES := pyproject.toml constraints.txt

.PHONY: demo test test-fast test-other-python test-lowest check-wheel test-gpu lint stress bench clean

demo: $(VENV)/.cpu
	$(BIN)/pscr score examples/images

# Two processes, a file of tests at a time in each: most tests keep one core busy.
test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --max-worker-restart=0

# What answers within 90 seconds on two idle cores: everything that neither trains, exports, builds engines, nor starts a browser.
test-fast: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile -m 'not slow and not gpu'

# The runtime's tests (but for those on tables of data) without torch: on another Python, and with the oldest libraries
# that pyproject.toml allows.
OTHER ?= python3.13
RUNTIME := '.[cpu,pillow]' 'pytest>=8' 'onnx>=1.17'
RUNTIME_TESTS := -m 'not slow and not gpu' tests/runtime tests/hostile --ignore=tests/runtime/test_notebook.py

test-other-python:
	$(OTHER) -m venv --clear .venv-$(notdir $(OTHER))
	.venv-$(notdir $(OTHER))/bin/python -m pip install -q $(RUNTIME)
	.venv-$(notdir $(OTHER))/bin/python -m pytest $(RUNTIME_TESTS)

test-lowest:
	$(PYTHON) -m venv --clear .venv-lowest
	.venv-lowest/bin/python -m pip install -q uv
	.venv-lowest/bin/uv pip install -q --python .venv-lowest/bin/python --resolution lowest-direct $(RUNTIME)
	.venv-lowest/bin/python -m pytest $(RUNTIME_TESTS)

# The wheel that the source archive builds, installed with its [cpu] in an environment of another Python, scores the
# example images as this tree does; the row that it prints is for the table of docs/stability.md.
WHEEL_VENV := .venv-wheel-$(notdir $(OTHER))
check-wheel: $(VENV)/.dev
	rm -rf build/wheel && mkdir -p build/wheel
	$(BIN)/python -m build -o build/wheel . > build/wheel/build.log
	$(BIN)/python -I tests/house/example_scores.py > build/wheel/expected.json
	$(OTHER) -m venv --clear $(WHEEL_VENV)
	$(WHEEL_VENV)/bin/python -m pip install -q "$$(echo build/wheel/*.whl)[cpu]"
	$(WHEEL_VENV)/bin/pscr score examples/images
	$(WHEEL_VENV)/bin/python -I tests/house/example_scores.py build/wheel/expected.json

# With a GPU and TensorRT installed in $(VENV): pip install -e '.[dev,trt]' or '.[dev,rtx]'.
test-gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m gpu -rs

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@rm -rf build/types && mkdir -p build/types/pscr
	@ln -s $(CURDIR)/app/* $(addprefix $(CURDIR)/,runtime export training) build/types/pscr/
	cd build/types && ../../$(BIN)/mypy --config-file ../../pyproject.toml

# Each script stops after MINUTES, prints its figures and fails where a promise is broken; docs/reliability.md has them.
MINUTES ?= 60
stress: $(VENV)/.dev
	$(BIN)/python tests/stress/fuzz_images.py --minutes $(MINUTES)
	$(BIN)/python tests/stress/fuzz_models.py --minutes $(MINUTES)
	$(BIN)/python tests/stress/endurance.py --minutes $(MINUTES)
	$(BIN)/python tests/stress/interruptions.py --minutes $(MINUTES)
	$(BIN)/python tests/stress/long_folder.py
	$(BIN)/python tests/stress/serve_abuse.py --minutes $(MINUTES)

# On an idle machine; some five minutes. What each measures: docs/performance.md.
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/cold_start.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/latency.py
	$(BIN)/python benchmarks/stages.py
	$(BIN)/python benchmarks/scaling.py
	$(BIN)/python benchmarks/image_sizes.py
	$(BIN)/python benchmarks/baseline.py
	$(BIN)/python benchmarks/serve_load.py
	$(BIN)/python benchmarks/readme_table.py

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.cpu: $(VENV)/bin/python $(SOURCES)
	$(PIP) install -q -c constraints.txt -e '.[cpu]'
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python $(SOURCES)
	$(PIP) install -q -c constraints.txt -e '.[dev]'
	@touch $@ $(VENV)/.cpu

clean:
	rm -rf $(VENV) .venv-* build dist *.egg-info
