"""Download HAM10000 as distributed by the ISIC 2018 challenge (task 3), with its official test set.

    python -m train.data.download --output data/isic2018

Interrupted downloads are resumed and finished ones not repeated; proxies are taken from the environment
(``HTTPS_PROXY``). The two image archives whose MD5 is publicly recorded are checked against it, every archive against
the CRC-32 of each file in it, and each file's SHA-256 is written to ``sources.json`` for the record.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import pooch
from msgspec import Meta

from edge_runtime.errors import DataError, run_command_line
from edge_runtime.settings import OneLineParser, parse_settings
from train.data.folder import read_data_folder
from train.data.resumable import ResumingDownloader
from train.files import write_text_atomically

BASE_URL = "https://isic-challenge-data.s3.amazonaws.com/2018"
LICENCE = """CC BY-NC 4.0 (HAM10000, Tschandl, Rosendahl, Kittler 2018): non-commercial use with attribution.
Cite: Tschandl, Rosendahl, Kittler: The HAM10000 dataset, Scientific Data 5:180161 (2018), and
Codella et al.: Skin lesion analysis toward melanoma detection 2018, arXiv:1902.03368."""
DISK = "About 3.1 GB are downloaded, and up to 6 GB of disk are taken while they are unpacked, 3.1 GB afterwards."
NEEDED_BYTES = 6 * 10**9


@dataclass(frozen=True)
class Source:
    """One file of the data set; ``known_hash`` as pooch takes it, ``None`` where no checksum is publicly recorded."""

    name: str
    known_hash: str | None = None


SOURCES = (
    Source("ISIC2018_Task3_Training_LesionGroupings.csv"),
    Source("ISIC2018_Task3_Training_GroundTruth.zip"),
    Source("ISIC2018_Task3_Validation_GroundTruth.zip"),
    Source("ISIC2018_Task3_Test_GroundTruth.zip"),
    Source("ISIC2018_Task3_Validation_Input.zip", "md5:c1fbdd4f5468b0d67c61a1b2def87077"),
    Source("ISIC2018_Task3_Test_Input.zip"),
    Source("ISIC2018_Task3_Training_Input.zip", "md5:0c281f121070a8d63457caffcdec439a"),
)


def download(
    output: Path, sources: tuple[Source, ...] = SOURCES, base_url: str = BASE_URL, *, keep_archives: bool = False
) -> Path:
    """Download and unpack all ``sources`` below ``output``; returns it. Raises :class:`DataError`."""
    output.mkdir(parents=True, exist_ok=True)
    write_text_atomically(output / "LICENSE", LICENCE + "\n")
    record = output / "sources.json"
    checksums: dict[str, str] = json.loads(record.read_text(encoding="utf-8")) if record.is_file() else {}
    for source in sources:
        target = output / (source.name.removesuffix(".zip"))
        if target.exists():
            print(f"{source.name}: already there")
            continue
        archive = fetch(source, output, base_url)
        checksums[source.name] = pooch.file_hash(str(archive), alg="sha256")
        write_text_atomically(record, json.dumps(checksums, indent=1) + "\n")
        if archive != target:
            unpack(archive, target)
            if not keep_archives:
                archive.unlink()
        print(f"{source.name}: done", flush=True)
    return output


def fetch(source: Source, output: Path, base_url: str = BASE_URL, first_wait_seconds: float = 1.0) -> Path:
    """Download one file and check its checksum. Raises :class:`DataError` naming the file and both checksums."""
    downloader = ResumingDownloader(output / f"{source.name}.part", first_wait_seconds=first_wait_seconds)
    pooch.get_logger().setLevel("WARNING")  # the progress bar says it already
    try:
        path = pooch.retrieve(
            f"{base_url}/{source.name}", source.known_hash, fname=source.name, path=output, downloader=downloader
        )
    except ValueError as error:  # how pooch reports another checksum; it has removed the file
        raise DataError(f"{source.name}: {' '.join(str(error).split())[:300]}") from None
    except OSError as error:
        raise DataError(f"{output / source.name}: cannot be written: {error.strerror or error}") from None
    return Path(path)


def unpack(archive: Path, target: Path) -> None:
    """Unpack into ``target``, which appears whole or not at all. Raises :class:`DataError` for a damaged archive."""
    scratch = target.with_name(f".{target.name}.unpacking")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with zipfile.ZipFile(archive) as content:
            content.extractall(scratch)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, ValueError) as error:
        archive.unlink()
        raise DataError(f"{archive}: damaged archive, removed; run again to download it anew: {error}") from None
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from None
    else:
        inner = scratch / target.name
        (inner if inner.is_dir() else scratch).rename(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


class DownloadOptions(msgspec.Struct, frozen=True):
    """Flags of ``python -m train.data.download``."""

    output: Annotated[Path, Meta(description="folder to write", extra={"metavar": "FOLDER"})] = Path("data/isic2018")
    base_url: Annotated[str, Meta(description="where the files are; for a mirror", extra={"metavar": "URL"})] = BASE_URL
    keep_archives: Annotated[bool, Meta(description="do not remove the archives after unpacking")] = False


def main(arguments: list[str] | None = None) -> int:
    """Download, unpack, and read the result once; returns the exit status."""
    parser = OneLineParser(
        prog="python -m train.data.download",
        description="Download HAM10000 (ISIC 2018 task 3) with its official test set.",
        epilog=f"{LICENCE}\n{DISK}\nexample: python -m train.data.download --output data/isic2018",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    flags = parse_settings(parser, DownloadOptions, arguments)
    print(f"{LICENCE}\n{DISK}", flush=True)
    free = shutil.disk_usage(next(one for one in (flags.output, *flags.output.resolve().parents) if one.exists())).free
    if free < NEEDED_BYTES and not flags.output.exists():
        raise DataError(f"{flags.output}: expected {NEEDED_BYTES / 1e9:.0f} GB of free disk, found {free / 1e9:.1f}")
    download(flags.output, base_url=flags.base_url, keep_archives=flags.keep_archives)
    found = read_data_folder(flags.output)
    print(f"{flags.output}: {len(found.records)} images, {len(found.missing)} missing; train with:")
    print(f"  python -m train --data {flags.output} --name ham10000")
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
