"""Archive scale: score a folder, or a parquet file of image bytes, on a Ray cluster.

    python -m edge_runtime.ray images/ --output scores/ [--address auto] [--workers 2]
    python -m edge_runtime.ray archive.parquet --column bytes --output scores/

Each worker loads one classifier with one thread; the predictions are those of folder mode. Needs ``dermedge[ray]``. The
bundle and a folder of images must be readable on every node under the same path; a cluster needs more CPUs than
workers, since reading and writing run beside them.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta

from edge_runtime.bundle.location import find_bundle
from edge_runtime.bundle.manifest import read_manifest
from edge_runtime.classifier import Classifier
from edge_runtime.errors import DataError, EngineError, ImageError, printable, run_command_line
from edge_runtime.io.walk import PassedOver, walk_images
from edge_runtime.options import BundleOptions, Positive
from edge_runtime.settings import OneLineParser, add_flags, given_flags, make_settings
from edge_runtime.vocabulary import Engine, Precision

if TYPE_CHECKING:
    from collections.abc import Callable

    Batch = dict[str, Any]


class RayOptions(BundleOptions, frozen=True, kw_only=True):
    """What is scored, by which variant, on which cluster, and where the scores go."""

    source: Annotated[
        Path,
        Meta(
            description="images, or rows of image (a name) and bytes",
            extra={"positional": True, "metavar": "FOLDER_OR_PARQUET"},
        ),
    ]
    output: Annotated[Path, Meta(description="folder of parquet files to write", extra={"metavar": "DIR"})]
    engine: Annotated[Engine, Meta(description="inference engine")] = "onnx"
    precision: Annotated[Precision, Meta(description="precision of the backbone")] = "int8"
    address: Annotated[
        str | None, Meta(description="running cluster to join, such as auto (default: start one on this machine)")
    ] = None
    workers: Annotated[Positive, Meta(description="workers, one CPU each")] = 2
    batch: Annotated[Positive, Meta(description="batch size of a worker")] = 32
    column: Annotated[str, Meta(description="parquet column that holds the images' bytes")] = "bytes"


class BatchScorer:
    """A Ray worker's state: one classifier. Called with columns ``image`` and, where the images travel, ``bytes``."""

    def __init__(self, bundle: str, engine: str, precision: str) -> None:
        self._classifier = Classifier.load(bundle, engine=engine, precision=precision, threads=1)

    def __call__(self, batch: Batch) -> Batch:
        """Return folder mode's fields, flat, for each image; ``error`` is empty where there is a prediction."""
        sources: Any = batch.get("bytes", batch["image"])
        rows = [self._row(str(name), source) for name, source in zip(batch["image"], sources, strict=True)]
        return {column: np.array([row[column] for row in rows]) for column in rows[0]} if rows else {}

    def _row(self, name: str, source: Any) -> dict[str, Any]:
        row: dict[str, Any] = {"image": name, "label": "", "verdict": "", "error": ""}
        probabilities = dict.fromkeys(self._classifier.class_codes, float("nan"))
        try:
            prediction = self._classifier.predict(source)
        except ImageError as error:
            row["error"] = str(error)
        else:
            row.update(label=prediction.label, verdict=prediction.verdict)
            probabilities = prediction.probabilities
        return {**row, **probabilities, "engine": self._classifier.engine, "precision": self._classifier.precision}


def score(options: RayOptions, bundle: Path) -> Any:
    """Return a lazy Ray dataset with one row for each image of a folder or row of a parquet file."""
    source, column = options.source, options.column
    data = import_module("ray.data")
    if source.is_dir():
        paths = [{"image": path} for path in _paths_in(source)]
        images = data.from_items(paths, override_num_blocks=max(1, min(len(paths), 4 * options.workers)))
    elif source.suffix == ".parquet":
        images = data.read_parquet(str(source))
        missing = {"image", column} - set(images.schema().names)
        if missing:
            raise DataError(f"{source}: expected the columns image and {column}, found no {', '.join(sorted(missing))}")
        images = images.select_columns(["image", column])
        if column != "bytes":
            images = images.rename_columns({column: "bytes"})
    else:
        raise DataError(f"{source}: expected a folder or a .parquet file")
    scorer: Callable[..., Any] = BatchScorer  # a class: Ray makes one instance for each worker
    return images.map_batches(
        scorer,
        fn_constructor_args=(str(bundle.resolve()), options.engine, options.precision),
        batch_size=options.batch,
        batch_format="numpy",
        concurrency=options.workers,
        num_cpus=1,
    )


def _paths_in(folder: Path) -> list[str]:
    """Return the images of a folder. What is passed over is said on stderr; what cannot be read is an error."""
    passed_over = PassedOver()
    found = list(walk_images(str(folder), passed_over))
    for line in passed_over.summary():
        print(printable(line), file=sys.stderr)
    for _, problem in found:
        if problem is not None:
            raise DataError(str(problem))
    if not found:
        raise DataError(f"{folder}: expected images in this folder, found none")
    return [path for path, _ in found]


def main(arguments: list[str] | None = None) -> int:
    """Connect, score, write parquet; returns 1 when an image could not be read."""
    options = make_settings(RayOptions, given_flags(RayOptions, build_parser().parse_args(arguments)))
    try:
        ray = import_module("ray")
        pyarrow_parquet = import_module("pyarrow.parquet")
    except ImportError:
        raise EngineError("this needs Ray Data: pip install 'dermedge[ray]'") from None
    bundle = find_bundle(options.bundle)
    read_manifest(bundle)  # refuses a bad bundle before any worker starts
    if options.output.exists():
        raise DataError(f"{options.output}: exists already; remove it or name another")
    # Workers hold their CPUs to the end, and reading and writing need some beside them.
    local = {} if options.address else {"num_cpus": options.workers + 2, "include_dashboard": False}
    ray.init(address=options.address, log_to_driver=False, logging_level="warning", **local)
    scored = score(options, bundle)
    try:
        scored.write_parquet(str(options.output))
    finally:
        ray.shutdown()
    table = pyarrow_parquet.read_table(str(options.output), columns=["error"])
    failed = sum(bool(error) for error in table["error"].to_pylist())
    print(f"{len(table) - failed} predicted, {failed} unusable, in {options.output}", file=sys.stderr)
    return 1 if failed else 0


def build_parser() -> OneLineParser:
    """Return the parser."""
    parser = OneLineParser(
        prog="python -m edge_runtime.ray",
        description="Score an archive of images on a Ray cluster.",
        epilog="example: python -m edge_runtime.ray archive/ --output scores/ --address auto --workers 16",
    )
    add_flags(parser, RayOptions)
    return parser


if __name__ == "__main__":
    sys.exit(run_command_line(main))
