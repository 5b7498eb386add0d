"""The downloader against a local server that drops connections, ignores ranges, and serves a corrupt file."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

import train.data.download
from edge_runtime.errors import DataError
from train.data.download import Source, download, fetch, unpack
from train.data.folder import read_data_folder
from train.data.licence import data_licence

PAYLOAD = bytes(range(256)) * 4096  # a megabyte


class Site:
    """What the server has, and how badly it behaves."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.bytes_before_drop: int | None = None
        self.ranges = True
        self.requests: list[tuple[str, str | None]] = []
        self.url = ""


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            site.requests.append((self.path, wanted))
            content = site.files.get(self.path.rpartition("/")[2])
            if content is None:
                self.send_error(404)
                return
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and site.ranges else 0
            if wanted and site.ranges and start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if wanted and site.ranges else 200)
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            end = len(content) if site.bytes_before_drop is None else start + site.bytes_before_drop
            self.wfile.write(content[start:end])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    site.url = f"http://127.0.0.1:{server.server_port}"
    yield site
    server.shutdown()
    server.server_close()
    thread.join()


def known(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def archive_of(name: str, files: dict[str, bytes]) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file, content in files.items():
            archive.writestr(f"{name}/{file}", content)
    return stream.getvalue()


def test_dropped_connections_are_resumed(site: Site, tmp_path: Path) -> None:
    site.files["big.zip"] = PAYLOAD
    site.bytes_before_drop = 300_000
    path = fetch(Source("big.zip", known(PAYLOAD)), tmp_path, site.url, first_wait_seconds=0.0)
    assert path.read_bytes() == PAYLOAD
    assert [wanted for _, wanted in site.requests] == [None, "bytes=262144-", "bytes=524288-", "bytes=786432-"]
    assert [one.name for one in tmp_path.iterdir()] == ["big.zip"]


def test_an_earlier_runs_part_is_continued(site: Site, tmp_path: Path) -> None:
    site.files["big.zip"] = PAYLOAD
    (tmp_path / "big.zip.part").write_bytes(PAYLOAD[:1000])
    fetch(Source("big.zip", known(PAYLOAD)), tmp_path, site.url)
    assert site.requests == [("/big.zip", "bytes=1000-")]


def test_complete_part_needs_nothing_more(site: Site, tmp_path: Path) -> None:
    site.files["big.zip"] = PAYLOAD
    (tmp_path / "big.zip.part").write_bytes(PAYLOAD)
    assert fetch(Source("big.zip", known(PAYLOAD)), tmp_path, site.url).read_bytes() == PAYLOAD


def test_server_without_ranges_starts_over(site: Site, tmp_path: Path) -> None:
    site.files["big.zip"] = PAYLOAD
    site.ranges = False
    (tmp_path / "big.zip.part").write_bytes(b"x" * 1000)
    assert fetch(Source("big.zip", known(PAYLOAD)), tmp_path, site.url).read_bytes() == PAYLOAD


def test_connection_that_never_brings_anything(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.files["big.zip"] = PAYLOAD
    site.bytes_before_drop = 0
    with pytest.raises(DataError, match=r"big\.zip: cannot be downloaded \(.*\); run again to resume"):
        fetch(Source("big.zip", known(PAYLOAD)), tmp_path, site.url, first_wait_seconds=0.0)
    assert len(site.requests) == 8


def test_corrupt_file_is_refused_and_removed(site: Site, tmp_path: Path) -> None:
    site.files["big.zip"] = b"!" + PAYLOAD[1:]
    with pytest.raises(DataError, match=r"big\.zip: .*hash"):
        fetch(Source("big.zip", known(PAYLOAD)), tmp_path, site.url)
    assert list(tmp_path.iterdir()) == []
    site.files["big.zip"] = PAYLOAD
    assert fetch(Source("big.zip", known(PAYLOAD)), tmp_path, site.url).read_bytes() == PAYLOAD


def test_missing_file_and_unreachable_server(site: Site, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"/none\.zip: 404 Not Found"):
        fetch(Source("none.zip"), tmp_path, site.url)
    with pytest.raises(DataError, match=r"cannot be downloaded \(ConnectionError\)"):
        fetch(Source("none.zip"), tmp_path, "http://127.0.0.1:9", first_wait_seconds=0.0)


def test_damaged_archive_leaves_no_folder(tmp_path: Path) -> None:
    content = bytearray(archive_of("Input", {"a.jpg": b"image" * 100}))
    content[200] ^= 1
    (tmp_path / "Input.zip").write_bytes(bytes(content))
    with pytest.raises(DataError, match=r"Input\.zip: damaged archive, removed; run again .*CRC"):
        unpack(tmp_path / "Input.zip", tmp_path / "Input")
    assert list(tmp_path.iterdir()) == []


def image() -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 100, 90)).save(stream, "JPEG")
    return stream.getvalue()


@pytest.fixture
def small_isic(site: Site) -> tuple[Source, ...]:
    header = b"image,MEL,NV,BCC,AKIEC,BKL,DF,VASC\n"
    for part, image_id in (("Training", "ISIC_1"), ("Test", "ISIC_2")):
        truth = header + image_id.encode() + b",0.0,1.0,0.0,0.0,0.0,0.0,0.0\n"
        name = f"ISIC2018_Task3_{part}_GroundTruth"
        site.files[f"{name}.zip"] = archive_of(name, {f"{name}.csv": truth})
        name = f"ISIC2018_Task3_{part}_Input"
        site.files[f"{name}.zip"] = archive_of(name, {f"{image_id}.jpg": image(), "LICENSE.txt": b"CC"})
    site.files["ISIC2018_Task3_Training_LesionGroupings.csv"] = b"image,lesion_id\nISIC_1,HAM_7\n"
    return tuple(Source(name, known(content)) for name, content in site.files.items())


def test_whole_data_set(site: Site, small_isic: tuple[Source, ...], tmp_path: Path) -> None:
    output = download(tmp_path / "isic", small_isic, site.url)
    found = read_data_folder(output)
    assert [(one.lesion_id, one.subset) for one in found.records] == [("HAM_7", "train"), ("ISIC_2", "test")]
    assert not list(output.glob("*.zip"))
    sums = json.loads((output / "sources.json").read_text())
    assert {f"sha256:{value}" for value in sums.values()} == {source.known_hash for source in small_isic}
    site.requests.clear()
    download(output, small_isic, site.url)
    assert site.requests == [], "what is there is not downloaded again"


def test_command_line_says_licence_and_disk(
    site: Site,
    small_isic: tuple[Source, ...],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(train.data.download.download, "__defaults__", (small_isic, ""))
    monkeypatch.setattr(train.data.download, "NEEDED_BYTES", 0)
    assert train.data.download.main(["--output", str(tmp_path / "isic"), "--base-url", site.url]) == 0
    output = capsys.readouterr().out
    assert "CC BY-NC 4.0" in output
    assert "6 GB of disk" in output
    assert data_licence(tmp_path / "isic", None, ()).startswith("CC BY-NC 4.0")
    assert "2 images, 0 missing" in output


def test_full_disk_is_said_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train.data.download, "NEEDED_BYTES", 10**18)
    with pytest.raises(DataError, match=r"isic: expected 1000000000 GB of free disk, found"):
        train.data.download.main(["--output", str(tmp_path / "isic")])
    assert not (tmp_path / "isic").exists()


def test_proxy_of_the_environment_is_used(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site.files["a.csv"] = b"image\n"
    monkeypatch.setenv("http_proxy", site.url)
    monkeypatch.setenv("no_proxy", "")
    fetch(Source("a.csv"), tmp_path, "http://behind.the.proxy.invalid/2018")
    assert site.requests == [("http://behind.the.proxy.invalid/2018/a.csv", None)]
