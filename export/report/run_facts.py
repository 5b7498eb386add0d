"""How a model was trained, as far as its run folder says: what the model card reports of the training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from train.model.checkpoint import Checkpoint

SETTINGS = (
    "image_size", "final_epochs", "final_image_size", "batch_size", "optimizer", "learning_rate", "weight_decay",
    "schedule", "loss", "label_smoothing", "augmentation", "mixup", "cutmix", "ema", "precision", "threads", "seed",
)  # fmt: skip
"""The settings of a run that the card reports."""
TRAINING_FACTS = "training"
"""Where the checkpoint in a bundle keeps these facts, in ``extra``: its run folder is not there any more."""


def run_facts(checkpoint: Checkpoint, run: Path) -> dict[str, Any]:
    """Return the epochs, their total seconds, the initial weights and the settings; ``None`` for what is not recorded.

    The seconds are summed over the epochs in ``metrics.jsonl``, which has no record of repeated epochs.
    """
    if TRAINING_FACTS in checkpoint.extra:
        facts: dict[str, Any] = checkpoint.extra[TRAINING_FACTS]
        return facts
    start = checkpoint.config.get("init")
    rows = _epoch_rows(run / "metrics.jsonl")
    return {
        "initialisation": None if start is None else Path(start).name,  # no path of the machine it was trained on
        "epoch": checkpoint.epoch,
        "epochs": len(rows) or None,
        "seconds": sum(row["seconds"] for row in rows) if rows else None,
        "settings": reported_settings(checkpoint.config),
    }


def reported_settings(configuration: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's saved configuration that the card reports."""
    return {name: configuration[name] for name in SETTINGS if name in configuration}


def _epoch_rows(path: Path) -> list[dict[str, Any]]:
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError):
        return []
    return rows if all(isinstance(row, dict) and "seconds" in row for row in rows) else []
