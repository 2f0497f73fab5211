"""Demo models are fetched once, compared with their digests, and every failure has a way out."""

import hashlib
import sys
import zipfile
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from arena import demo_models
from arena.demo_models import DEMO_MODELS, DemoModel, Wheel, demo_model, resolve_demo
from arena.errors import FetchError
from planner.errors import SpecError
from tests.networks import demo_onnx

CONTENT = b"a model"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the wheel folder of a cache of its own, which is not there yet."""
    monkeypatch.setenv("ARENA_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "wheels"


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DemoModel:
    """Put a demo model into the table whose wheel is made here and lies in `tmp_path`."""
    file = tmp_path / "made_here-1.0-py3-none-any.whl"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("made_here/model.onnx", CONTENT)
        archive.writestr(
            "made_here-1.0.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: made-here\nVersion: 1.0",
        )
        archive.writestr(
            "made_here-1.0.dist-info/WHEEL",
            "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any",
        )
        archive.writestr("made_here-1.0.dist-info/RECORD", "")
    content = file.read_bytes()
    wheel = Wheel(
        "made-here", "1.0", file.name, hashlib.sha256(content).hexdigest(), len(content), "MIT"
    )
    digest = hashlib.sha256(CONTENT).hexdigest()
    model = DemoModel(wheel, "made_here/model.onnx", digest, {}, "nothing")
    monkeypatch.setattr(demo_models, "DEMO_MODELS", {"small": model})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    return model


def test_the_table_is_complete() -> None:
    assert list(DEMO_MODELS) == ["ocr-det", "ocr-cls", "ocr-rec", "vad", "file-type"]
    for model in DEMO_MODELS.values():
        assert len(model.sha256) == len(model.wheel.sha256) == 64
        assert model.wheel.licence in ("Apache-2.0", "MIT")
        assert model.task


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        SpecError, match=r"found demo model 'ocr', expected one of ocr-det, ocr-cls"
    ):
        demo_model("ocr")


@pytest.mark.parametrize("name", list(DEMO_MODELS))
def test_the_models_are_what_was_pinned(name: str) -> None:
    content = demo_onnx(name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == DEMO_MODELS[name].sha256


def test_a_model_is_fetched_once_with_progress(wheels: Path, small: DemoModel) -> None:
    steps: list[tuple[int, int]] = []
    path = resolve_demo("small", lambda done, total: steps.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert steps[-1] == (small.wheel.size_bytes, small.wheel.size_bytes)
    assert (wheels / small.wheel.file).exists()
    assert resolve_demo("small") == path


def test_pips_progress_is_read(
    wheels: Path, small: DemoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in for pip prints what pip prints while it downloads, and brings the wheel."""
    source = tmp_path / small.wheel.file
    script = tmp_path / "pip.sh"
    script.write_text(
        "#!/bin/sh\n"
        'echo "Collecting made-here"; echo "Progress 5 of 10"; echo "Progress 10 of 10"\n'
        'while [ "$1" != "-d" ]; do shift; done\n'
        f'cp "{source}" "$2"\n'
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    steps: list[tuple[int, int]] = []
    resolve_demo("small", lambda done, total: steps.append((done, total)))
    assert steps[:2] == [(5, 10), (10, 10)]


def test_without_network_the_way_out_is_named_and_works(
    wheels: Path, small: DemoModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nothing here"))
    with pytest.raises(FetchError) as error:
        resolve_demo("small")
    message = str(error.value)
    assert message.startswith("made-here 1.0 cannot be fetched: ERROR: ")
    assert "run 'pip download --no-deps made-here==1.0' and put made_here-1.0" in message
    assert message.endswith(str(wheels))
    (wheels / small.wheel.file).write_bytes((tmp_path / small.wheel.file).read_bytes())
    assert resolve_demo("small").read_bytes() == CONTENT


def test_a_python_without_pip_is_told(
    wheels: Path, small: DemoModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str) -> str:
        raise PackageNotFoundError(name)

    monkeypatch.setattr(demo_models, "version", absent)
    with pytest.raises(FetchError, match=r"this Python has no pip; where there is a network"):
        resolve_demo("small")


@pytest.mark.parametrize(("found", "bar"), [("24.0", "off"), ("24.1.2", "raw"), ("26.3", "raw")])
def test_an_older_pip_tells_no_progress(
    small: DemoModel, monkeypatch: pytest.MonkeyPatch, found: str, bar: str
) -> None:
    monkeypatch.setattr(demo_models, "version", lambda _name: found)
    assert demo_models._progress_bar(small.wheel) == bar


def test_another_wheel_of_that_name_is_not_taken(
    wheels: Path, small: DemoModel, tmp_path: Path
) -> None:
    wheels.mkdir(parents=True)
    (wheels / small.wheel.file).write_bytes(b"something else")
    assert resolve_demo("small").read_bytes() == CONTENT  # fetched over it
    (tmp_path / small.wheel.file).write_bytes(b"forged")
    (wheels / small.wheel.file).unlink()
    for entry in (tmp_path / "cache" / "demo").glob("*.onnx"):
        entry.unlink()
    with pytest.raises(FetchError, match=r"cannot be fetched"):
        resolve_demo("small")


def test_a_member_that_differs_is_refused(
    wheels: Path, small: DemoModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = DemoModel(small.wheel, small.member, "0" * 64, {}, "nothing")
    monkeypatch.setattr(demo_models, "DEMO_MODELS", {"small": other})
    with pytest.raises(FetchError, match=r"has SHA-256 .*, expected 0{64}: this release and the"):
        resolve_demo("small")
