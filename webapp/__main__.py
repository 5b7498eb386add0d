"""Serve the page and the API: ``python -m webapp --bundle models/demo --port 8000``."""

from __future__ import annotations

import argparse
import logging
import signal
import socket
import sys

from edge_runtime.errors import run_command_line
from edge_runtime.settings import OneLineParser, add_flags, given_flags
from webapp.application import create_app
from webapp.configuration import ServerSettings, WebConfiguration, make_configuration
from webapp.serving.server import Server, listen
from webapp.serving.supervisor import Supervisor


def build_parser() -> argparse.ArgumentParser:
    """Return the command line's parser, made from :class:`ServerSettings`."""
    parser = OneLineParser(
        prog="python -m webapp",
        description="Serve the classifier as a page and a REST API. The environment variable DERMEDGE_API_KEY, when "
        "set, is the key that API requests must carry. Research software, not a medical device.",
        epilog="example: python -m webapp --bundle models/demo --host 0.0.0.0 --port 8000",
    )
    add_flags(parser, ServerSettings)
    return parser


def main() -> int:
    """Serve until SIGTERM or Ctrl+C."""
    configuration = make_configuration(given_flags(ServerSettings, build_parser().parse_args()))
    logging.basicConfig(stream=sys.stdout, format="%(message)s", level=logging.WARNING)
    if not configuration.quiet:
        logging.getLogger("webapp.access").setLevel(logging.INFO)
    listener = listen(configuration.host, configuration.port)
    if not configuration.supervisor:
        return serve(configuration, listener)
    return Supervisor(listener, lambda inherited: run_command_line(lambda: serve(configuration, inherited))).run()


def serve(configuration: WebConfiguration, listener: socket.socket) -> int:
    """Load the model and serve requests until SIGTERM or Ctrl+C; requests in progress are finished."""
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
