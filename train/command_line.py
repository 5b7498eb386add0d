"""The command line of ``python -m train``: one flag for each setting of the configuration."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from edge_runtime.errors import DataError
from edge_runtime.settings import OneLineParser, add_flags, given_flags, make_settings
from train.configuration import TrainingConfiguration, configuration_from_dict, resolve_configuration

EXAMPLE = """example:
  python -m train --data data/ham10000 --name first --epochs 12
  python -m train --name first --resume
"""


class LaunchOptions(msgspec.Struct, frozen=True):
    """How the configuration is put together, beside the settings themselves."""

    preset: Annotated[Literal["demo"] | None, Meta(description="start from these settings")] = None
    config: Annotated[
        Path | None, Meta(description="TOML file of settings; flags override it", extra={"metavar": "FILE"})
    ] = None
    resume: Annotated[bool, Meta(description="resume the run --name from its last.pt")] = False


def main(arguments: list[str] | None = None) -> int:
    """Train as the flags say, one run or all folds; returns the exit status."""
    flags = make_parser().parse_args(arguments)
    resume = make_settings(LaunchOptions, given_flags(LaunchOptions, flags)).resume
    configuration = read_configuration(flags)
    from train.learning.loop import Interrupted  # after the flags are read, so that --help is quick

    try:
        if configuration.folds is not None and configuration.fold is None:
            _run_folds(configuration, resume=resume)
        else:
            _run_once(configuration, resume=resume)
    except Interrupted as interrupted:
        print(f"stopped; resume with: python -m train --name {configuration.name} --resume")
        return interrupted.exit_status
    return 0


def _run_once(configuration: TrainingConfiguration, *, resume: bool) -> None:
    from train.run import train_run

    result = train_run(configuration, resume=resume)
    if not result.is_first_worker:
        return
    metrics = result.metrics
    print(
        f"best epoch {result.best_epoch}: balanced accuracy {metrics['balanced_accuracy']:.3f}, accuracy "
        f"{metrics['accuracy']:.3f}, macro F1 {metrics['macro_f1']:.3f} (validation)\n"
        f"outputs: {result.folder}/best.pt, metrics.jsonl, split.csv; tensorboard --logdir {result.folder}/tensorboard"
    )


def _run_folds(configuration: TrainingConfiguration, *, resume: bool) -> None:
    from train.folds import train_folds

    result = train_folds(configuration, resume=resume)
    print(f"mean ± standard deviation over {configuration.folds} folds (validation):")
    for name in result.mean:
        print(f"  {name:28} {result.mean[name]:.4f} ± {result.deviation[name]:.4f}")
    print(f"outputs: {result.folder}/folds.json, {result.folder}/fold-*/best.pt")


def make_parser() -> argparse.ArgumentParser:
    """The flags of :class:`LaunchOptions` and :class:`TrainingConfiguration`."""
    parser = OneLineParser(
        prog="python -m train",
        description="Fine-tune a skin-lesion classifier. Without --data: on generated demo images.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_flags(parser, LaunchOptions)
    add_flags(parser, TrainingConfiguration, negatable=True)
    return parser


def read_configuration(flags: argparse.Namespace) -> TrainingConfiguration:
    """The configuration that the flags ask for; with --resume the saved one. Raises :class:`DataError`."""
    options = make_settings(LaunchOptions, given_flags(LaunchOptions, flags))
    overrides = given_flags(TrainingConfiguration, flags)
    if not options.resume:
        return resolve_configuration(options.preset, options.config, overrides)
    named = {name: value for name, value in overrides.items() if name in ("name", "runs_folder")}
    return _saved_configuration(TrainingConfiguration(**named).run_folder / "config.json", overrides)


def _saved_configuration(path: Path, overrides: dict[str, Any]) -> TrainingConfiguration:
    try:
        saved = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read, so there is nothing to resume: {error.strerror}") from None
    except ValueError:
        raise DataError(f"{path}: expected JSON written by an earlier run") from None
    configuration = configuration_from_dict(saved, str(path))
    for name, value in overrides.items():
        kept = getattr(configuration, name)
        if kept != value and name not in ("runs_folder", "name", "threads", "cache_folder"):
            raise DataError(f"--{name.replace('_', '-')}: a resumed run keeps {kept!r}, found {value!r}")
    return msgspec.structs.replace(configuration, **overrides)
