#!/bin/sh
# Environments of real clients that cannot live in .venv, under .venvs: old versions
# of huggingface_hub, Rust programs in wheels, PyTorch, and JavaScript packages.
# What cannot be had is said here, and its tests are skipped.
set -eu
cd "$(dirname "$0")/../.."
PYTHON=${PYTHON:-python3}
mkdir -p .venvs

# environment NAME REQUIREMENTS [OPTION…]
environment() {
    name=$1 requirements=$2
    shift 2
    [ -x ".venvs/$name/bin/python" ] || "$PYTHON" -m venv ".venvs/$name"
    ".venvs/$name/bin/python" -m pip --disable-pip-version-check --quiet install \
        "$@" -r "tests/clients/$requirements"
}

# The same, of what is not to be had everywhere.
optional() {
    environment "$@" || {
        rm -rf ".venvs/$1"
        echo "$1 is not to be had: its tests will be skipped" >&2
    }
}

environment hub-oldest huggingface_hub-oldest.txt
environment hub-old huggingface_hub-0.3x.txt
optional rust rust.txt --no-compile

# transformers, and most of what torch needs, are those of .venv.  The build for CPUs
# is not in every index, and the other one brings several GB for GPUs.
"$PYTHON" -m venv .venvs/torch
"$PYTHON" -c 'import sys; print("../../../../../.venv/lib/python%d.%d/site-packages"
    % sys.version_info[:2])' >"$(echo .venvs/torch/lib/python*/site-packages)/shared.pth"
optional torch torch.txt --no-compile

if command -v npm >/dev/null 2>&1; then
    mkdir -p .venvs/js
    echo '{"private": true, "type": "module"}' > .venvs/js/package.json
    # --ignore-scripts: onnxruntime-node would fetch libraries for GPUs.
    npm install --prefix .venvs/js --silent --no-audit --no-fund --no-save \
        --no-package-lock --ignore-scripts \
        "@huggingface/hub@2.17.5" "@huggingface/transformers@4.3.1"
else
    echo "npm is not here: tests with JavaScript clients will be skipped" >&2
fi
