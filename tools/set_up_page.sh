#!/usr/bin/env bash
# Builds the part of the page that runs the model in the browser (webapp/static/litert); without node the page works without it.
set -euo pipefail
cd "$(dirname "$0")/../webapp"
if ! command -v npm >/dev/null; then
  echo "node is not installed: the page works without its in-browser mode"
  exit
fi
npm ci --silent --no-audit --no-fund
npm run --silent build
touch node_modules/.built
