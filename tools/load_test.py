"""How much of the bare runtime's throughput the server keeps under many clients, and whether its memory stays flat.

    python -m tools.load_test --bundle models/demo --clients 16

Rounds alternate between ``edge_runtime`` in one process and the server with its clients, on the same CPUs, so
that the ratio means something on a busy machine. The clients' own work counts against the server.
"""

from __future__ import annotations

import http.client
import json
import sys
import threading
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from tqdm import tqdm

from edge_runtime.classifier import Classifier
from edge_runtime.errors import DermedgeError, run_command_line
from edge_runtime.imaging.preprocessing import IMAGE_SUFFIXES
from edge_runtime.machine import available_cpus
from edge_runtime.settings import OneLineParser, parse_settings
from tools.hostile_bodies import FORM_TYPE, form_body
from tools.server_process import ServerProcess, server_process
from webapp.samples import SAMPLES_FOLDER

MINIMUM_RATIO = 0.8


@dataclass(frozen=True)
class Round:
    """One round: images per second in process and through the server, and the server's latencies in seconds."""

    in_process: float
    served: float
    latencies: list[float]


def measure_in_process(classifier: Classifier, images: list[bytes], count: int) -> float:
    """Return images per second of ``edge_runtime`` with as many predictions at once as the server makes."""
    started = perf_counter()
    for _, prediction in classifier.predict_many(islice(cycle(images), count)):
        if isinstance(prediction, DermedgeError):
            raise prediction
    return count / (perf_counter() - started)


def measure_server(server: ServerProcess, images: list[bytes], count: int, clients: int) -> tuple[float, list[float]]:
    """Return images per second of the server, asked by ``clients`` at once, and each request's seconds."""
    bodies = [form_body(image) for image in images]
    latencies: list[float] = []
    failures: list[str] = []

    def work(share: int) -> None:
        connection = http.client.HTTPConnection(server.host, server.port, timeout=60)
        for body in islice(cycle(bodies), share):
            started = perf_counter()
            connection.request("POST", "/api/v1/predict", body=body, headers={"Content-Type": FORM_TYPE})
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                failures.append(f"{response.status}: {text.decode(errors='replace')[:200]}")
            latencies.append(perf_counter() - started)
        connection.close()

    shares = [count // clients + (number < count % clients) for number in range(clients)]
    threads = [threading.Thread(target=work, args=(share,)) for share in shares]
    started = perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures or len(latencies) != count:
        raise DermedgeError(f"{len(failures)} of {count} requests failed, the first with {failures[:1]}")
    return count / (perf_counter() - started), latencies


def read_images(folder: Path) -> list[bytes]:
    """Return the images of a folder as bytes."""
    images = [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix.lower() in IMAGE_SUFFIXES]
    if not images:
        raise DermedgeError(f"{folder}: expected images, found none")
    return images[:64]


def report(rounds: list[Round], memory: list[float], as_json: bool) -> tuple[float, float]:
    """Print the results; return the median ratio and the server's growth in MiB after the first round."""
    ratio = median(each.served / each.in_process for each in rounds)
    latencies = sorted(latency for each in rounds for latency in each.latencies)
    results = {
        "in_process_per_second": round(median(each.in_process for each in rounds), 1),
        "served_per_second": round(median(each.served for each in rounds), 1),
        "ratio": round(ratio, 3),
        "latency_ms_median": round(1e3 * median(latencies), 1),
        "latency_ms_99th": round(1e3 * latencies[int(0.99 * (len(latencies) - 1))], 1),
        "requests": len(latencies),
        "memory_mib_after_first_round": round(memory[0]),
        "memory_mib_at_the_end": round(memory[-1]),
        "cpus": available_cpus(),
    }
    if as_json:
        print(json.dumps(results))
    else:
        for name, value in results.items():
            print(f"{name.replace('_', ' '):<30} {value}")
    return ratio, memory[-1] - memory[0]


class LoadSettings(msgspec.Struct, frozen=True):
    """The flags of the command."""

    bundle: Annotated[Path | None, Meta(description="bundle folder, as for python -m webapp")] = None
    engine: Annotated[Literal["onnx", "tflite"], Meta(description="inference engine")] = "onnx"
    precision: Annotated[str, Meta(description="precision of the variant")] = "int8"
    clients: Annotated[int, Meta(ge=1, description="clients at once")] = 16
    requests: Annotated[int, Meta(ge=1, description="requests in total")] = 3000
    rounds: Annotated[int, Meta(ge=1, description="rounds over which the requests are spread")] = 5
    images: Annotated[Path | None, Meta(description="folder of images to send; without it the page's samples")] = None
    max_growth_mib: Annotated[
        float, Meta(ge=0, description="limit on the server's memory growth after the first round")
    ] = 32.0
    json: Annotated[bool, Meta(description="print one JSON object")] = False


def main() -> int:
    """Run the command line; exit status 1 when the ratio is below ``MINIMUM_RATIO`` or the server's memory grew."""
    parser = OneLineParser(
        prog="python -m tools.load_test",
        description="Compare the server's throughput under many clients with the bare runtime's.",
        epilog="example: python -m tools.load_test --bundle models/demo --clients 16 --requests 20000",
    )
    arguments = parse_settings(parser, LoadSettings)
    images = read_images(arguments.images or SAMPLES_FOLDER)
    share = max(1, arguments.requests // arguments.rounds)
    flags = ["--engine", arguments.engine, "--precision", arguments.precision, "--requests-per-minute", "0"]
    flags += ["--bundle", str(arguments.bundle)] if arguments.bundle else []
    flags += ["--queue-limit", str(max(32, arguments.clients))]
    loaded = Classifier.load(
        arguments.bundle,
        engine=arguments.engine,
        precision=arguments.precision,
        threads=1,
        replicas=available_cpus(),
    )
    rounds, memory = [], []
    with server_process(*flags) as server, loaded as classifier:
        measure_in_process(classifier, images, 32)
        measure_server(server, images, 32, arguments.clients)
        for _ in tqdm(range(arguments.rounds), unit="round", disable=not sys.stderr.isatty()):
            in_process = measure_in_process(classifier, images, share)
            rounds.append(Round(in_process, *measure_server(server, images, share, arguments.clients)))
            memory.append(server.memory_mib()[0])
    ratio, growth = report(rounds, memory, arguments.json)
    if ratio < MINIMUM_RATIO:
        print(
            f"the server reaches {ratio:.2f} of the bare runtime's throughput, expected {MINIMUM_RATIO}",
            file=sys.stderr,
        )
    if growth > arguments.max_growth_mib:
        limit = f"{arguments.max_growth_mib:g} MiB"
        print(f"the server grew by {growth:.0f} MiB after the first round, expected at most {limit}", file=sys.stderr)
    return int(ratio < MINIMUM_RATIO or growth > arguments.max_growth_mib)


if __name__ == "__main__":
    sys.exit(run_command_line(main))
