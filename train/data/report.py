"""What a data set holds and what is wrong with it, before anything is learned from it.

python -m train.data.report --data data/ham10000 [--json]
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge_runtime.errors import run_command_line
from edge_runtime.imaging.preprocessing import INPUT_SIZE
from edge_runtime.settings import OneLineParser, parse_settings
from train.configuration import CLASSES_HELP, TrainingConfiguration
from train.data.cache import ImageCache, open_cache
from train.data.classes import choose_classes
from train.data.duplicates import find_near_duplicates
from train.data.folder import DataFolder, read_data_folder
from train.data.records import AGE_BANDS

NAMES_SHOWN = 10


@dataclass(frozen=True)
class DataReport:
    """Counts of usable images, and the ids of those that are not usable or not alone.

    ``duplicates`` are groups of ids with the same pixels, ``near_duplicates`` pairs of different pixels but of
    nearly the same look; ``conflicting`` are those among them whose classes differ. ``passed_over`` has a line for each
    reason why images or files of the folder were left out.
    """

    folder: str
    layout: str
    images: int
    lesions: int
    by_class: dict[str, int]
    lesions_by_class: dict[str, int]
    by_sex: dict[str, int]
    by_age: dict[str, int]
    by_site: dict[str, int]
    missing: tuple[str, ...]
    unreadable: dict[str, str]
    passed_over: tuple[str, ...]
    duplicates: tuple[tuple[str, ...], ...]
    near_duplicates: tuple[tuple[str, str], ...]
    conflicting: tuple[tuple[str, str], ...]

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``data_report.json``."""
        return asdict(self)


def report_data(found: DataFolder, cache: ImageCache) -> DataReport:
    """Count and compare. ``cache`` must be of ``found.records``."""
    by_id = {record.image_id: record for record in found.records}
    usable = [by_id[image_id] for image_id in cache.image_ids]
    same_pixels: dict[str, list[str]] = {}
    for image_id, digest in zip(cache.image_ids, cache.digests, strict=True):
        same_pixels.setdefault(digest, []).append(image_id)
    digest_of = dict(zip(cache.image_ids, cache.digests, strict=True))
    alike = find_near_duplicates(cache.image_ids, cache.difference_hashes)
    codes = found.classes.codes
    lesion_class = {record.lesion_id: codes[record.label] for record in usable}
    return DataReport(
        folder=str(found.folder),
        layout=found.layout,
        images=len(usable),
        lesions=len(lesion_class),
        by_class=_in_class_order(Counter(codes[record.label] for record in usable), codes),
        lesions_by_class=_in_class_order(Counter(lesion_class.values()), codes),
        by_sex=_count(record.sex for record in usable),
        by_age=_count((record.age_band for record in usable), AGE_BANDS),
        by_site=_count(record.site for record in usable),
        missing=found.missing,
        unreadable={**dict(found.unreadable), **cache.unreadable},
        passed_over=found.passed_over,
        duplicates=tuple(tuple(group) for group in same_pixels.values() if len(group) > 1),
        near_duplicates=tuple((one, other) for one, other in alike if digest_of[one] != digest_of[other]),
        conflicting=tuple((one, other) for one, other in alike if by_id[one].label != by_id[other].label),
    )


def describe(report: DataReport) -> str:
    """The report for people: a table of counts, then what is wrong, by name."""
    lines = [f"{report.folder}: {report.layout}, {report.images} images of {report.lesions} lesions"]
    for name, counts in (
        ("class", report.by_class),
        ("lesions by class", report.lesions_by_class),
        ("sex", report.by_sex),
        ("age", report.by_age),
        ("site", report.by_site),
    ):
        lines.append(f"  {name}: " + ", ".join(f"{key} {count}" for key, count in counts.items()))
    lines += _problem("missing", report.missing)
    lines += _problem("unreadable", [f"{key} ({reason})" for key, reason in report.unreadable.items()])
    lines += [f"  {line}" for line in report.passed_over]
    lines += _problem("same pixels", [" = ".join(group) for group in report.duplicates])
    lines += _problem("nearly the same, kept on one side", [" ~ ".join(pair) for pair in report.near_duplicates])
    lines += _problem("the same image under different classes", [" / ".join(pair) for pair in report.conflicting])
    return "\n".join(lines)


class ReportOptions(msgspec.Struct, frozen=True):
    """Flags of ``python -m train.data.report``."""

    data: Annotated[Path, Meta(description="data folder", extra={"metavar": "FOLDER"})]
    cache_folder: Annotated[
        Path, Meta(description="where decoded images are kept between runs", extra={"metavar": "FOLDER"})
    ] = Path(TrainingConfiguration().cache_folder)
    classes: Annotated[str | None, Meta(description=CLASSES_HELP, extra={"metavar": "CLASSES"})] = None
    json: Annotated[bool, Meta(description="print one JSON object, with all image ids")] = False


def main(arguments: list[str] | None = None) -> int:
    """Print the report of a data folder; returns the exit status, 1 when something in it cannot be read."""
    parser = OneLineParser(
        prog="python -m train.data.report",
        description="Count images and lesions, and list what is missing, unreadable, equal or nearly equal by name.",
        epilog="example: python -m train.data.report --data data/isic2018",
    )
    flags = parse_settings(parser, ReportOptions, arguments)
    found = read_data_folder(flags.data, choose_classes(flags.classes, flags.data))
    report = report_data(found, open_cache(found.records, INPUT_SIZE, flags.cache_folder))
    print(json.dumps(report.to_json()) if flags.json else describe(report))
    return 1 if report.unreadable else 0


def _count(values: Iterable[str | None], order: Sequence[str] = ()) -> dict[str, int]:
    """Count the values, those of ``order`` in that order, the others by name, unknown last."""
    counts = Counter("unknown" if value is None else value for value in values)
    place = {value: index for index, value in enumerate(order)}
    return {key: counts[key] for key in sorted(counts, key=lambda key: (key == "unknown", place.get(key, 0), key))}


def _in_class_order(counts: Counter[str], codes: Sequence[str]) -> dict[str, int]:
    return {code: counts[code] for code in codes}


def _problem(name: str, items: Sequence[str]) -> list[str]:
    if not items:
        return []
    shown = ", ".join(items[:NAMES_SHOWN]) + (f", and {len(items) - NAMES_SHOWN} more" if len(items) > 10 else "")
    return [f"  {name}: {len(items)}: {shown}"]


if __name__ == "__main__":
    sys.exit(run_command_line(main))
