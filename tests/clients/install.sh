#!/bin/sh
# Environments of real clients that cannot live in .venv: an old huggingface_hub,
# and the JavaScript client where there is a Node.js.
set -eu
cd "$(dirname "$0")/../.."
mkdir -p .venvs
"${PYTHON:-python3}" -m venv .venvs/hub-old
.venvs/hub-old/bin/python -m pip --disable-pip-version-check --quiet install \
    -r tests/clients/huggingface_hub-0.3x.txt
if command -v npm >/dev/null 2>&1; then
    mkdir -p .venvs/js
    echo '{"private": true, "type": "module"}' > .venvs/js/package.json
    npm install --prefix .venvs/js --silent --no-audit --no-fund --no-save \
        --no-package-lock "@huggingface/hub@2.17.5"
else
    echo "npm is not here: tests with @huggingface/hub will be skipped" >&2
fi
