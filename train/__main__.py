"""Fine-tune a classifier: ``python -m train --data ../shared/data/ham10000-224 --init weights.pth --name first``."""

from __future__ import annotations

import sys

from edge_runtime.errors import run_command_line
from train.command_line import main

if __name__ == "__main__":
    sys.exit(run_command_line(main))
