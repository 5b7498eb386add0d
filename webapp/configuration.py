"""Everything that can be set about the server, with defaults that are safe on an open network."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from edge_runtime.machine import available_cpus
from edge_runtime.settings import make_settings
from edge_runtime.vocabulary import EngineChoice

MEBIBYTE = 1024 * 1024
API_KEY_VARIABLE = "DERMEDGE_API_KEY"


class ServerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the flags of ``python -m webapp`` set: flags, ranges, help and the table in the docs are made from it.

    ``concurrency`` predictions run at the same time, each with ``threads`` threads; ``queue_limit`` more may wait, and
    the rest are refused at once with 503.
    """

    host: Annotated[str, Meta(description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 lets the system choose")] = 8000
    bundle: Annotated[
        Path | None, Meta(description="bundle folder; without it $DERMEDGE_BUNDLE, else the newest under models/")
    ] = None
    engine: Annotated[
        EngineChoice,
        Meta(description="inference engine for requests that name none"),
    ] = "auto"
    precision: Annotated[str, Meta(description="precision for requests that name none")] = "int8"
    threads: Annotated[int, Meta(ge=1, description="engine threads for one prediction")] = 1
    concurrency: Annotated[
        int, Meta(ge=0, description="predictions at once; 0: the number of CPUs divided by --threads")
    ] = 0
    queue_limit: Annotated[int, Meta(ge=0, description="predictions that may wait; more get 503 with Retry-After")] = 32
    queue_timeout: Annotated[float, Meta(gt=0, description="seconds a prediction may wait before it gets 503")] = 10.0
    receive_timeout: Annotated[
        float, Meta(gt=0, description="seconds within which a request must have arrived, else 408")
    ] = 30.0
    connection_limit: Annotated[int, Meta(ge=1, description="connections open at once")] = 256
    max_upload_mib: Annotated[float, Meta(gt=0, description="largest request in MiB")] = 12.0
    max_megapixels: Annotated[float, Meta(gt=0, description="largest image in megapixels")] = 30.0
    requests_per_minute: Annotated[
        int, Meta(ge=0, description="images per minute from one client address, else 429; 0: no limit")
    ] = 600
    trusted_proxies: Annotated[
        int, Meta(ge=0, description="number of reverse proxies in front whose X-Forwarded-* headers are trusted")
    ] = 0
    url_prefix: Annotated[
        str,
        Meta(
            description="path under which a proxy shows this server, like /skin, when it sends no X-Forwarded-Prefix",
            extra={"metavar": "PATH"},
        ),
    ] = ""
    allowed_hosts: Annotated[
        tuple[str, ...],
        Meta(
            description="Host header to accept, repeatable; without it any",
            extra={"flag": "--allowed-host", "metavar": "HOST", "repeat": True},
        ),
    ] = ()
    cors_origins: Annotated[
        tuple[str, ...],
        Meta(
            description="other web origin that may call the API, repeatable",
            extra={"flag": "--cors-origin", "metavar": "ORIGIN", "repeat": True},
        ),
    ] = ()
    frame_ancestors: Annotated[
        tuple[str, ...],
        Meta(
            description="site that may show the page in a frame, repeatable",
            extra={"flag": "--frame-ancestor", "metavar": "SITE", "repeat": True},
        ),
    ] = ()
    metrics: Annotated[bool, Meta(description="serve /metrics for Prometheus")] = True
    supervisor: Annotated[bool, Meta(description="restart the serving process after a crash")] = True
    quiet: Annotated[bool, Meta(description="write no access log")] = False


class WebConfiguration(ServerSettings, frozen=True, kw_only=True):
    """The resolved configuration of one server process: its flags, and the API key, which no flag may carry."""

    api_key: str | None = None

    @property
    def max_upload_bytes(self) -> int:
        """Largest request in bytes."""
        return int(self.max_upload_mib * MEBIBYTE)

    @property
    def max_pixels(self) -> int:
        """Largest image in pixels."""
        return round(self.max_megapixels * 1e6)

    @property
    def simultaneous_predictions(self) -> int:
        """How many predictions run at once: ``concurrency``, or as many as keep every CPU busy with its threads."""
        return self.concurrency or max(1, available_cpus() // self.threads)

    @property
    def server_threads(self) -> int:
        """Threads for requests: for all that predict or wait for it, and a few for everything else meanwhile."""
        return self.simultaneous_predictions + self.queue_limit + 4


def make_configuration(flags: dict[str, Any], environment: Mapping[str, str] = os.environ) -> WebConfiguration:
    """Return the configuration for the given flags, by field name; the API key comes from ``$DERMEDGE_API_KEY``."""
    return make_settings(WebConfiguration, {**flags, "api_key": environment.get(API_KEY_VARIABLE) or None})
