"""The programs in docs/how-to/use-the-model-files.md, run as they stand there, predict what the device's code does."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from PIL import Image

from edge_runtime.bundle.classes import ham10000
from edge_runtime.classifier import Classifier
from tests.conftest import REPOSITORY, blob_image

TOLERANCE = 0.02
"""Another engine's int8 kernels may round otherwise."""

CONSUMERS = REPOSITORY / "tests" / "export" / "consumers"
ANDROID_ONNXRUNTIME = "1.29.0"
"""The onnxruntime in the package of Android's classes, as its native library spells it."""


def snippets(language: str) -> list[str]:
    """Return the programs in a language, in the document's order."""
    text = (REPOSITORY / "docs" / "how-to" / "use-the-model-files.md").read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def place(tmp_path: Path, tiny_bundle: Path) -> Path:
    """A folder with what the programs read: a bundle, an image, and its resized bytes."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "demo").symlink_to(tiny_bundle)
    blob_image(seed=3).save(tmp_path / "lesion.jpg")
    resized = Image.open(tmp_path / "lesion.jpg").convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
    (tmp_path / "image.rgb").write_bytes(resized.tobytes())
    return tmp_path


def check(predicted: dict[str, float], place: Path, engine: str) -> None:
    """Compare a program's probabilities with those of the device's code."""
    with Classifier.load(place / "models" / "demo", engine=engine, precision="int8") as classifier:
        expected = classifier.predict(place / "lesion.jpg").probabilities
    assert list(predicted) == list(ham10000().codes)
    assert predicted == pytest.approx(expected, abs=TOLERANCE)
    assert max(predicted, key=predicted.__getitem__) == max(expected, key=expected.__getitem__)


def run(command: list[str], place: Path, **environment: str) -> str:
    finished = subprocess.run(
        command, cwd=place, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize("module", ["onnxruntime", "ai_edge_litert", "openvino"])
def test_python(module: str, place: Path) -> None:
    if find_spec(module) is None:
        pytest.skip(f"{module} is not installed")
    (program,) = [text for text in snippets("python") if f"import numpy, {module}" in text or f"from {module}" in text]
    printed = run([sys.executable, "-c", program], place)
    check(json.loads(printed.replace("'", '"')), place, "tflite" if module == "ai_edge_litert" else "onnx")


def test_cpp_with_openvino(place: Path) -> None:
    package = package_folder("openvino")
    (library,) = (package / "libs").glob("libopenvino.so.*")
    run_cpp("openvino/", place, [f"-isystem{package / 'include'}", *linked(library)], "onnx")


def test_cpp_with_onnxruntime(place: Path) -> None:
    (library,) = (package_folder("onnxruntime") / "capi").glob("libonnxruntime.so.*")
    (place / "libonnxruntime.so.1").symlink_to(library)  # the name that the library has for the linker
    headers = unpack_android(place) / "headers"
    run_cpp("onnxruntime_", place, [f"-isystem{headers}", *linked(place / "libonnxruntime.so.1")], "onnx")


def test_cpp_with_tensorflow_lite(place: Path) -> None:
    if not Path("/usr/include/tensorflow/lite/interpreter.h").is_file():
        pytest.skip("Debian's libtensorflow-lite-dev is not installed")
    run_cpp("tensorflow/lite", place, ["-ltensorflow-lite"], "tflite")


def run_cpp(header: str, place: Path, flags: list[str], engine: str) -> None:
    """Compile and run the program that includes a header, and check its prediction."""
    need("g++")
    (program,) = [text for text in snippets("cpp") if f"#include <{header}" in text]
    (place / "main.cpp").write_text(program)
    run(["g++", "-std=c++17", "-Wall", "-Werror", "main.cpp", *flags, "-o", "main"], place)
    check(lines_of(run(["./main"], place)), place, engine)


def test_javascript(place: Path) -> None:
    need("node")
    (program,) = snippets("javascript")
    (place / "main.js").write_text(program)
    packages = str(consumer("onnxruntime-node").parent)
    check(json.loads(run(["node", "main.js"], place, NODE_PATH=packages)), place, "onnx")


@pytest.mark.slow
def test_kotlin(place: Path) -> None:
    """Android's own classes and their native library predict on a Java machine."""
    for tool in ("javac", "java", "gcc", "bash"):
        need(tool)
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        pytest.skip("Android's native library is tried on x86-64 Linux alone")
    compiler, android = consumer("kotlin-compiler"), unpack_android(place)
    (program,) = snippets("kotlin")
    (place / "Snippet.kt").write_text(program)
    classes = f"{place}:{android / 'classes.jar'}:{compiler / 'lib' / 'kotlin-stdlib.jar'}"
    run(["javac", "-d", str(place), str(CONSUMERS / "Bitmap.java")], place)
    sources = ["Snippet.kt", str(CONSUMERS / "Main.kt")]
    run(["bash", str(compiler / "bin" / "kotlinc"), "-Werror", "-cp", classes, "-d", str(place), *sources], place)
    libraries = put_under_android(android, place / "libraries")
    command = ["java", f"-Donnxruntime.native.path={libraries}", "-cp", classes, "MainKt"]
    check(lines_of(run(command, place, LD_LIBRARY_PATH=str(libraries))), place, "onnx")


def put_under_android(android: Path, folder: Path) -> Path:
    """Write Android's native library and those it needs, which are this machine's under Android's names."""
    folder.mkdir()
    shutil.copy(android / "jni" / "x86_64" / "libonnxruntime4j_jni.so", folder)
    (engine,) = (package_folder("onnxruntime") / "capi").glob("libonnxruntime.so.*")
    (folder / "libonnxruntime.so.1").symlink_to(engine)
    for name in ("libc.so", "libm.so", "libdl.so"):
        link_library(folder, name, "LIBC")
    onnxruntime = [f'-DONNXRUNTIME="{ANDROID_ONNXRUNTIME}"', "libonnxruntime.so.1"]
    link_library(folder, "libonnxruntime.so", f"VERS_{ANDROID_ONNXRUNTIME}", *onnxruntime)
    return folder


def link_library(folder: Path, name: str, version: str, *flags: str) -> None:
    (folder / "versions").write_text(f"{version} {{}};")
    run(["gcc", "-shared", "-fPIC", "-fno-builtin", "-Wl,--version-script,versions", f"-Wl,-soname,{name}",
         str(CONSUMERS / "android_libraries.c"), *flags, "-o", name], folder)  # fmt: skip


def consumer(name: str) -> Path:
    """Return the folder of a package that `make setup-consumers` installs."""
    folder = CONSUMERS / "node_modules" / name
    if not folder.is_dir():
        pytest.skip(f"{name} is not installed: make setup-consumers")
    return folder


def unpack_android(place: Path) -> Path:
    """Return a folder with the contents of onnxruntime's Android package: headers, classes, native libraries."""
    archive = consumer("com.github.asus4.onnxruntime") / "Plugins" / "Android" / "onnxruntime.aar"
    zipfile.ZipFile(archive).extractall(place / "android")
    return place / "android"


def package_folder(module: str) -> Path:
    found = find_spec(module)
    if found is None or found.origin is None:
        pytest.skip(f"{module} is not installed")
    return Path(found.origin).parent


def need(tool: str) -> None:
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")


def linked(library: Path) -> list[str]:
    """Return g++'s flags to link with a library and to find it again."""
    return [f"-L{library.parent}", f"-l:{library.name}", f"-Wl,-rpath,{library.parent}"]


def lines_of(printed: str) -> dict[str, float]:
    return {code: float(probability) for code, probability in (line.split() for line in printed.splitlines())}


def test_no_program_is_left_out() -> None:
    counts = {language: len(snippets(language)) for language in ("python", "cpp", "javascript", "kotlin")}
    assert counts == {"python": 3, "cpp": 3, "javascript": 1, "kotlin": 1}
