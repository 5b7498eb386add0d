#!/usr/bin/env bash
# Fetches Kotlin and onnxruntime for other languages, which run the programs of docs/how-to/use-the-model-files.md in the tests.
set -euo pipefail
cd "$(dirname "$0")/../tests/export/consumers"
skipped="the programs in JavaScript, Kotlin and, with onnxruntime, C++ are not run"
if ! command -v npm >/dev/null; then
  echo "node is not installed: $skipped"
elif npm ci --silent --ignore-scripts --no-audit --no-fund; then
  touch node_modules/.installed
else
  echo "npm could not fetch them: $skipped"
fi
