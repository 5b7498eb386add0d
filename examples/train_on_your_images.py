"""Train on your own folders: say which of them stands for which of the seven class codes.

python -m examples.train_on_your_images photos/ melanoma=mel "common nevus=nv" blue_nevus=nv --name mine

The classes are fixed (akiec bcc bkl df mel nv vasc), since bundles, page and reports are made for them; several of your
folders may stand for one class, and a class may have none. The images are linked, not copied, into data/<name>/<code>/;
what follows -- goes to `python -m train`, whose starting weights are torchvision's unless you say --init.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from edge_runtime.bundle.classes import CLASS_CODES


def link_images(source: Path, classes: dict[str, str], target: Path) -> int:
    """Make ``target/<code>/<folder>-<file>`` a link to each file of the folders in ``classes``; return their number."""
    count = 0
    for folder, code in classes.items():
        (target / code).mkdir(parents=True, exist_ok=True)
        for image in sorted(path for path in (source / folder).iterdir() if path.is_file()):
            link = target / code / f"{folder.replace(' ', '-')}-{image.name}"
            link.unlink(missing_ok=True)
            link.symlink_to(image.resolve())
            count += 1
    return count


def main() -> int:
    """Read the arguments, link the images, train, and return the exit status."""
    given = sys.argv[1:]
    end = given.index("--") if "--" in given else len(given)
    parser = argparse.ArgumentParser(description="Train on your own folders of images.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("classes", nargs="+", metavar="SUBFOLDER=CODE", help=f"a code of {' '.join(CLASS_CODES)}")
    parser.add_argument("--name", default="mine", help="of the run: runs/NAME (default: mine)")
    parser.add_argument("--data-folder", type=Path, default=Path("data"), help="where the links go (default: data)")
    arguments = parser.parse_args(given[:end])
    classes = dict(one.rpartition("=")[::2] for one in arguments.classes)
    for folder, code in classes.items():
        if code not in CLASS_CODES or not (arguments.folder / folder).is_dir():
            parser.error(f"expected SUBFOLDER=CODE with a folder in {arguments.folder}, found {folder}={code}")

    data = arguments.data_folder / arguments.name
    print(f"{link_images(arguments.folder, classes, data)} images in {data}", flush=True)
    command = [sys.executable, "-m", "train", "--data", str(data), "--name", arguments.name, *given[end + 1 :]]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
