"""Scripts, styles and images of the page, under an address that changes with their content.

``/assets/<version>/…`` may be cached for ever, and a page never mixes two versions. The service worker, also made
here, keeps the page and these files for use without a network.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Blueprint, Flask, Response, current_app, render_template, request, send_from_directory

from webapp.problems import RefusalError

blueprint = Blueprint("assets", __name__)

STATIC = Path(__file__).parents[1] / "static"
_PAGE_FOLDERS = (STATIC, STATIC.parent / "templates", STATIC.parent / "texts")
_HASHED_WHOLE = 1_000_000
_YEAR = 365 * 24 * 3600
_EXTENSION = "dermedge_assets_version"

MARK = "X-Dermedge"
"""Header of every response, with the page's version: scripts tell by it responses that a network sent in our place."""

_TYPES = {".js": "text/javascript", ".wasm": "application/wasm", ".webmanifest": "application/manifest+json"}


def assets_version() -> str:
    """Return twelve hexadecimal digits that change when anything of the page changes."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in _PAGE_FOLDERS for path in folder.rglob("*") if path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.relative_to(STATIC.parent)} {size}\n".encode())
        if size < _HASHED_WHOLE:  # the WebAssembly is pinned by its lock file; its loader is hashed
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def init_assets(app: Flask) -> None:
    """Fix the version for the life of the application, mark all responses with it, and tell templates addresses."""
    version = assets_version()
    app.extensions[_EXTENSION] = version

    @app.context_processor
    def _addresses() -> dict[str, str]:
        return {"root": request.script_root, "assets": assets_address()}

    @app.after_request
    def _mark(response: Response) -> Response:
        response.headers[MARK] = version
        return response


def assets_address() -> str:
    """Return the current prefix, like ``/assets/0123456789ab``, below the one that the server is served under."""
    return f"{request.script_root}/assets/{current_app.extensions[_EXTENSION]}"


def runs_on_device() -> bool:
    """Whether the files for running the model in the browser were built (``npm ci && npm run build`` in webapp/)."""
    return (STATIC / "litert" / "device-worker.js").is_file()


@blueprint.get("/assets/<version>/<path:file>")
def asset(version: str, file: str) -> Response:
    """Return one file of the current version, gzipped where a gzipped copy exists."""
    if version != current_app.extensions[_EXTENSION]:
        raise RefusalError(404, "these files were replaced by a newer version; reload the page")
    compressed = STATIC / f"{file}.gz"
    if request.accept_encodings.quality("gzip") > 0 and compressed.is_file() and STATIC in compressed.resolve().parents:
        response = send_from_directory(STATIC, f"{file}.gz", max_age=_YEAR)
        response.headers["Content-Encoding"] = "gzip"
    else:
        response = send_from_directory(STATIC, file, max_age=_YEAR)
    response.headers["Content-Type"] = _TYPES.get(Path(file).suffix, response.headers["Content-Type"])
    response.headers["Vary"] = "Accept-Encoding"
    response.cache_control.immutable = True
    return response


@blueprint.get("/service-worker.js")
def service_worker() -> Response:
    """The service worker, at the root because it may only serve what lies beneath its own address."""
    files = [f"{request.script_root}/", *(f"{assets_address()}/{path.relative_to(STATIC)}" for path in _shell_files())]
    version = current_app.extensions[_EXTENSION]
    script = render_template("service-worker.js", version=version, mark=MARK, files=files)
    response = Response(script, content_type="text/javascript; charset=utf-8")
    response.cache_control.no_cache = True
    return response


@blueprint.get("/manifest.webmanifest")
def web_manifest() -> Response:
    """Return the web app manifest, which makes the page installable."""
    manifest = render_template("manifest.webmanifest")
    return Response(manifest, content_type="application/manifest+json")


def _shell_files() -> list[Path]:
    """Return the files the page needs without a network; the model's files are cached by the code that loads them."""
    sources = [STATIC / "style.css", STATIC / "icons", STATIC / "js", STATIC / "samples"]
    files = [path for source in sources for path in ([source] if source.is_file() else source.rglob("*"))]
    return sorted(path for path in files if path.name != "device_worker.js")
