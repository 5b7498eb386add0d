"""Serve the page and the API: ``python -m webapp --bundle models/demo --port 8000``."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from edge_runtime.engines import ENGINES
from edge_runtime.errors import run_command_line
from webapp.application import create_app
from webapp.configuration import MEBIBYTE, WebConfiguration
from webapp.serving.server import Server, listen
from webapp.serving.supervisor import Supervisor

API_KEY_VARIABLE = "DERMEDGE_API_KEY"


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser; the defaults are :class:`WebConfiguration`'s."""
    defaults = WebConfiguration()
    parser = argparse.ArgumentParser(
        prog="python -m webapp",
        description="Serve the classifier as a page and a REST API. Research software, not a medical device.",
        epilog="example: python -m webapp --bundle models/demo --host 0.0.0.0 --port 8000",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--port", type=int, default=8000, help="port to listen on; 0 lets the system choose")
    add("--bundle", type=Path, help="bundle folder; without it $DERMEDGE_BUNDLE, else the newest under models/")
    add("--engine", choices=("auto", *ENGINES), default=defaults.engine, help="engine that answers by default")
    add("--precision", default=defaults.precision, help="precision that answers by default")
    add("--threads", type=int, default=defaults.engine_threads, help="engine threads for one prediction")
    add("--concurrency", type=int, default=0, help="predictions at once; 0: processors divided by --threads")
    add("--queue-limit", type=int, default=defaults.queue_limit, help="predictions that may wait; more get 503")
    add("--queue-timeout", type=float, default=defaults.queue_timeout, help="seconds one may wait before 503")
    add("--receive-timeout", type=float, default=defaults.receive_timeout, help="seconds a request may take to arrive")
    add("--max-upload-mib", type=float, default=defaults.max_upload_bytes / MEBIBYTE, help="largest request in MiB")
    add("--max-megapixels", type=float, default=defaults.max_pixels / 1e6, help="largest picture in megapixels")
    add("--requests-per-minute", type=int, default=defaults.requests_per_minute,
        help="pictures a minute from one client; 0: no limit")  # fmt: skip
    add("--trusted-proxies", type=int, default=0, help="reverse proxies in front whose X-Forwarded-* are believed")
    add("--allowed-host", action="append", default=[], help="Host header to accept, repeatable; none given: any")
    add("--cors-origin", action="append", default=[], help="web origin that may call the API, repeatable")
    add("--frame-ancestor", action="append", default=[], help="site that may show the page in a frame, repeatable")
    add("--no-metrics", action="store_true", help="do not serve /metrics")
    add("--no-supervisor", action="store_true", help="serve in this process; nobody restarts it after a crash")
    add("--quiet", action="store_true", help="no access log")
    return parser


def read_configuration(arguments: argparse.Namespace) -> WebConfiguration:
    """Return the configuration that flags and environment ask for; the API key comes from ``$DERMEDGE_API_KEY``."""
    return WebConfiguration(
        bundle=arguments.bundle,
        engine=arguments.engine,
        precision=arguments.precision,
        engine_threads=arguments.threads,
        concurrency=arguments.concurrency,
        queue_limit=arguments.queue_limit,
        queue_timeout=arguments.queue_timeout,
        receive_timeout=arguments.receive_timeout,
        max_upload_bytes=int(arguments.max_upload_mib * MEBIBYTE),
        max_pixels=int(arguments.max_megapixels * 1e6),
        requests_per_minute=arguments.requests_per_minute,
        trusted_proxies=arguments.trusted_proxies,
        allowed_hosts=tuple(arguments.allowed_host),
        cors_origins=tuple(arguments.cors_origin),
        api_key=os.environ.get(API_KEY_VARIABLE) or None,
        frame_ancestors=tuple(arguments.frame_ancestor),
        metrics=not arguments.no_metrics,
    )


def main() -> int:
    """Serve until SIGTERM or Ctrl+C."""
    arguments = build_parser().parse_args()
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
    if not arguments.quiet:
        logging.getLogger("webapp.access").setLevel(logging.INFO)
    configuration = read_configuration(arguments)
    listener = listen(arguments.host, arguments.port)
    if arguments.no_supervisor:
        return serve(configuration, listener)
    return Supervisor(listener, lambda inherited: run_command_line(lambda: serve(configuration, inherited))).run()


def serve(configuration: WebConfiguration, listener: socket.socket) -> int:
    """Load the model and answer requests until SIGTERM or Ctrl+C; what was begun is finished."""
    server = Server(create_app(configuration), configuration, listener)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop())
    host, port = listener.getsockname()[:2]
    print(f"serving on http://{f'[{host}]' if ':' in host else host}:{port}/", flush=True)
    server.run()
    return 0


def run() -> int:
    """Run the server's command line; the console script ``dermedge-web`` points here."""
    return run_command_line(main)


if __name__ == "__main__":
    sys.exit(run())
