"""Train on your own folders: say which of them stands for which class.

python -m examples.train_on_your_images photos/ melanoma=mel "common nevus=nv" blue_nevus=nv --name mine

The codes are those of HAM10000 (akiec bcc bkl df mel nv vasc) or of --classes: isic2019, binary-malignant, or a TOML
file of your own. Several of your folders may stand for one class, and a class may have none. Where each folder is a
class of its own, no example is needed: python -m train --data photos/ --classes folders. The images are linked, not
copied, into data/<name>/<code>/; what follows -- goes to `python -m train`, whose starting weights are torchvision's
unless you say --init.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from edge_runtime.errors import DermedgeError
from train.data.classes import choose_classes


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
    parser.add_argument("classes", nargs="+", metavar="SUBFOLDER=CODE", help="folder and class code")
    parser.add_argument("--classes", dest="class_set", help="a class set or a TOML file (default: ham10000)")
    parser.add_argument("--name", default="mine", help="of the run: runs/NAME (default: mine)")
    parser.add_argument("--data-folder", type=Path, default=Path("data"), help="where the links go (default: data)")
    arguments = parser.parse_args(given[:end])
    codes = choose_classes(arguments.class_set, arguments.folder).codes
    classes = dict(one.rpartition("=")[::2] for one in arguments.classes)
    for folder, code in classes.items():
        if code not in codes or not (arguments.folder / folder).is_dir():
            parser.error(f"expected SUBFOLDER=CODE with a folder in {arguments.folder}, found {folder}={code}")

    data = arguments.data_folder / arguments.name
    print(f"{link_images(arguments.folder, classes, data)} images in {data}", flush=True)
    command = [sys.executable, "-m", "train", "--data", str(data), "--name", arguments.name]
    command += ["--classes", arguments.class_set] if arguments.class_set else []
    command += given[end + 1 :]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DermedgeError as error:
        sys.exit(f"error: {error}")
