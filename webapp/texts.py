"""Every text on the page, from one file, so that a translation is one more file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXTS: dict[str, Any] = json.loads((Path(__file__).parent / "texts" / "en.json").read_text(encoding="utf-8"))
