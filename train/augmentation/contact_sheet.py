"""Show what an augmentation preset does: a sheet of a few images and several augmented versions of each.

python -m train.augmentation.contact_sheet --data data/ham10000 --augmentation strong --output sheet.png
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import msgspec
import numpy as np
import torch
from msgspec import Meta
from PIL import Image
from torchvision.utils import make_grid

from edge_runtime.errors import run_command_line
from edge_runtime.imaging.preprocessing import INPUT_SIZE, load_image_hwc
from edge_runtime.settings import OneLineParser, make_settings, parse_settings
from train.augmentation.batch import augment
from train.augmentation.mixing import mix_batch, soft_targets
from train.augmentation.strengths import PRESETS, find_preset
from train.configuration import CLASSES_HELP, TrainingConfiguration
from train.data.classes import choose_classes
from train.data.folder import load_records
from train.data.prepare import write_demo_data
from train.files import replacing


def draw_contact_sheet(
    images: np.ndarray, configuration: TrainingConfiguration, versions: int = 6, size: int = 128, seed: int = 0
) -> Image.Image:
    """``uint8`` images [N, H, W, 3] → one row an image: as it is, then ``versions`` augmented ones.

    Mixing (``configuration.mixup``, ``configuration.cutmix``) is between the images of the sheet.
    """
    augmentation = find_preset(configuration.augmentation)
    batch = torch.from_numpy(np.ascontiguousarray(images))
    generator = torch.Generator().manual_seed(seed)
    columns = [augment(batch, size, PRESETS["none"], generator)]
    targets = soft_targets(torch.zeros(len(batch), dtype=torch.int64), 0.0, 1)
    for _ in range(versions):
        augmented = augment(batch, size, augmentation, generator)
        columns.append(mix_batch(augmented, targets, configuration, generator)[0])
    rows = torch.stack(columns, dim=1).flatten(0, 1)
    sheet = make_grid(rows, nrow=versions + 1, padding=2, pad_value=1.0)
    return Image.fromarray((sheet.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


class SheetOptions(msgspec.Struct, frozen=True):
    """Flags of ``python -m train.augmentation.contact_sheet``."""

    data: Annotated[
        Path | None, Meta(description="data folder; none: the generated demo set", extra={"metavar": "FOLDER"})
    ] = None
    augmentation: Annotated[str, Meta(description=", ".join(PRESETS), extra={"metavar": "PRESET"})] = "strong"
    mixup: Annotated[float, Meta(ge=0, le=100, description="alpha of mixup; 0: off")] = 0.0
    cutmix: Annotated[float, Meta(ge=0, le=100, description="alpha of CutMix; 0: off")] = 0.0
    classes: Annotated[str | None, Meta(description=CLASSES_HELP, extra={"metavar": "CLASSES"})] = None
    rows: Annotated[int, Meta(ge=1, le=1000, description="images, one of each class first")] = 7
    seed: Annotated[int, Meta(ge=0, description="another seed gives other versions")] = 0
    output: Annotated[Path, Meta(description="PNG file to write", extra={"metavar": "FILE"})] = Path(
        "contact-sheet.png"
    )


def main(arguments: list[str] | None = None) -> int:
    """Write the sheet; returns the exit status."""
    parser = OneLineParser(prog="python -m train.augmentation.contact_sheet", description=__doc__.splitlines()[0])
    flags = parse_settings(parser, SheetOptions, arguments)
    settings = {"augmentation": flags.augmentation, "mixup": flags.mixup, "cutmix": flags.cutmix}
    configuration = make_settings(TrainingConfiguration, {**settings, "mixing_probability": 1.0})
    folder = flags.data or write_demo_data()
    records = load_records(folder, choose_classes(flags.classes, folder))
    first = {record.label: record for record in reversed(records)}
    chosen = [first[label] for label in sorted(first)] + [one for one in records if one is not first[one.label]]
    images = np.stack([load_image_hwc(record.path, INPUT_SIZE) for record in chosen[: flags.rows]])
    sheet = draw_contact_sheet(images, configuration, seed=flags.seed)
    with replacing(flags.output) as temporary:
        sheet.save(temporary, format="PNG")
    print(flags.output)
    return 0


if __name__ == "__main__":
    sys.exit(run_command_line(main))
