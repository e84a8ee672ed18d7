#!/bin/sh
# Builds the wheel, installs it with its own requirements alone (no torch) beside pytest, and runs the torch-free tests
# against the installed package, outside the source tree.
#   sh tests/base_install.sh [python3.11]
set -eu
python=${1:-python3}
root=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$python" -m venv "$work/venv"
"$work/venv/bin/python" -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$work/wheel" "$root"
"$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check -c "$root/constraints.txt" \
    "$work"/wheel/*.whl pytest pytest-timeout hypothesis
cp -r "$root/tests" "$root/benchmarks" "$root/pyproject.toml" "$work/"
cd "$work"
"$work/venv/bin/python" -c "
import importlib.util, sys
found = [name for name in ('torch', 'lightning', 'transformers') if importlib.util.find_spec(name)]
sys.exit(f'not a base install: {found}' if found else 0)"
"$work/venv/bin/python" -m pytest -p no:cacheprovider -m "not torch and not slow" tests
