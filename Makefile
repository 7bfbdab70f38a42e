# make setup | test | demo | lint | bench | docs | dist | clean
# PYTHON=python3.12 chooses the interpreter, VENV=/elsewhere/.venv the environment.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.semi-is-installed
PLUGINS := $(patsubst %/pyproject.toml,%,$(wildcard semi_plugins/*/pyproject.toml))
# Plugins whose file formats are an extra: the tests read those formats.
FORMATS := semi_plugins/imu[ros,lerobot] semi_plugins/astro[fits] semi_plugins/satellite[geotiff] semi_plugins/video[film]

# Threads that wait by sleeping: up to 10 times faster on two cores when anything else runs.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: setup test demo lint bench docs dist clean
.DELETE_ON_ERROR:

setup: $(STAMP)
	@:

# Build tools come first and builds are not isolated: so they are pinned too, and nothing is installed twice.
# "compat" puts this folder on the path: without it, where the folder is called semi, `import semi` from beside it finds the folder.
$(STAMP): constraints.txt pyproject.toml $(wildcard semi_plugins/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "semi needs Python 3.11 or later: make PYTHON=python3.12")'
	@echo "installing semi and its plugins into $(VENV); some minutes the first time"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq -c constraints.txt setuptools wheel
	@$(BIN)/python -m pip install -qq -c constraints.txt --no-build-isolation --config-settings editable_mode=compat \
		-e '.[nf4,kernels,plot,parquet,onnx,serve,ui,umap,ray,tensorboard,dev]' $(addprefix -e ./,$(PLUGINS) $(FORMATS))
	@touch $@

test: $(STAMP)
	@$(BIN)/semi fetch smollm2-135m text image molecules imu basic-motions
	@TRITON_INTERPRET=0 $(BIN)/python -m semi_kernels.compile_gate --quiet
	@$(BIN)/python -m pytest

demo: $(STAMP)
	@$(BIN)/semi fetch smollm2-135m text molecules
	@$(BIN)/semi demo

lint: $(STAMP)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy --strict semi semi_kernels $(addsuffix /src,$(PLUGINS))

bench: $(STAMP)
	@$(BIN)/python -m pytest benchmarks

docs: $(STAMP)
	@$(BIN)/python docs/generate.py

# Wheels and sdists of everything, the same bit for bit from the same commit.
dist: $(STAMP)
	@$(BIN)/python -m pip install -qq -c constraints.txt build twine
	@$(BIN)/python tools/dist.py

clean:
	@rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .benchmarks
	@rm -rf *.egg-info semi_plugins/*/src/*.egg-info semi_plugins/*/build
	@find semi semi_kernels semi_plugins tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} +
