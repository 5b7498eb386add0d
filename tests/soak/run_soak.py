"""Predict a hundred thousand times and watch the memory.

    python tests/soak/run_soak.py [--bundle models/demo] [--predictions 100000] [--threads 8]

Eight threads share one classifier per engine and send it JPEGs, some of them damaged, every tenth with a heat map.
Memory is read after a warm-up of a tenth and at the end; more than 8 MiB between them fails. Minutes long with the
tests' tiny bundle, hours with a real one, so it is outside the default tests.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from edge_runtime import Classifier  # noqa: E402
from edge_runtime.engines import installed_engines  # noqa: E402
from edge_runtime.errors import ImageError  # noqa: E402
from tests.conftest import TINY_BUNDLE, blob_image, encoded  # noqa: E402

MOST_GROWTH_MIB = 8


def main() -> int:
    """Run every engine; returns 1 when memory grew."""
    parser = argparse.ArgumentParser(description="Predict many times and watch the memory.")
    parser.add_argument("--bundle", default=str(TINY_BUNDLE), help="bundle to run")
    parser.add_argument("--predictions", type=int, default=100_000, help="of each engine")
    parser.add_argument("--threads", type=int, default=8, help="threads that share the classifier")
    options = parser.parse_args()
    return max(soak(engine, options) for engine in installed_engines())


def soak(engine: str, options: argparse.Namespace) -> int:
    """Run one engine and print its memory; returns 1 when it grew."""
    images = [encoded(blob_image(240 + 8 * seed, 200, seed), quality=85) for seed in range(10)]
    images.append(images[0][: len(images[0]) // 2])
    with Classifier.load(options.bundle, engine=engine, threads=1, replicas=2) as classifier:

        def predict(number: int) -> bool:
            try:
                classifier.predict(images[number % len(images)], explain=number % 10 == 0)
            except ImageError:
                return False
            return True

        def run(count: int) -> int:
            with ThreadPoolExecutor(options.threads) as pool:
                classified = 0
                for first in range(0, count, 1000):
                    classified += sum(pool.map(predict, range(first, min(first + 1000, count))))
            gc.collect()
            return classified

        started = time.monotonic()
        classified = run(options.predictions // 10)
        before = resident_mib()
        classified += run(options.predictions - options.predictions // 10)
        after = resident_mib()
    seconds = time.monotonic() - started
    print(
        f"{engine}: {options.predictions} predictions ({classified} classified, the rest refused as damaged) by "
        f"{options.threads} threads in {seconds:.0f} s; resident memory {before:.1f} MiB after a tenth, "
        f"{after:.1f} MiB at the end",
        flush=True,
    )
    return int(after - before > MOST_GROWTH_MIB)


def resident_mib() -> float:
    """Return this process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


if __name__ == "__main__":
    sys.exit(main())
