"""How a model came to be, as far as its run folder says: what the model card tells of the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from train.model.checkpoint import Checkpoint

SETTINGS = (
    "image_size", "final_epochs", "final_image_size", "batch_size", "optimizer", "learning_rate", "weight_decay",
    "schedule", "loss", "label_smoothing", "augmentation", "mixup", "cutmix", "ema", "precision", "threads", "seed",
)  # fmt: skip
"""What of a run's configuration the card tells."""


def run_facts(checkpoint: Checkpoint, run: Path) -> dict[str, Any]:
    """Return the epochs, their seconds, where the weights started, and the settings; ``None`` for what nobody knows.

    The seconds are the sum of the epochs' in ``metrics.jsonl``, and so know nothing of epochs that were repeated.
    """
    start = checkpoint.config.get("init")
    rows = _epoch_rows(run / "metrics.jsonl")
    return {
        "initialisation": None if start is None else Path(start).name,  # no path of the machine it was trained on
        "epoch": checkpoint.epoch,
        "epochs": len(rows) or None,
        "seconds": sum(row["seconds"] for row in rows) if rows else None,
        "settings": told_settings(checkpoint.config),
    }


def told_settings(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return what the card tells of a run's saved configuration."""
    return {name: configuration[name] for name in SETTINGS if name in configuration}


def _epoch_rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return []
    return rows if all(isinstance(row, dict) and "seconds" in row for row in rows) else []
