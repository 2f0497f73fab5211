import hashlib
import json
from pathlib import Path

import pytest

from arena.errors import FormatError
from arena.formats import FORMATS, format_of, read_model_facts
from arena.formats.om import read_om
from arena.formats.om_writer import OmSpec, om_bytes
from arena.formats.source import ByteSource
from tests.om_files import MODEL_DEF, WEIGHTS, header, model_def, plain_om, static_om, table


def bundle() -> bytes:
    body = table([(25, bytes(8)), (24, static_om())], wide=True, base=8 + 2 * 24)
    return header(256 + len(body), version=0, model_type=5, magic=bytes(4)) + body


@pytest.mark.parametrize(
    ("data", "name", "format_name", "planned"),
    [
        (static_om(), "", "om", True),
        (static_om(), "odd.bin", "om", True),
        (om_bytes(OmSpec(submodel_weight_bytes=(5,))), "", "om", True),
        (plain_om([(MODEL_DEF, model_def()), (6, b"f")], model_type=3), "", "om-flow", True),
        (bundle(), "", "om-bundle", False),
        (b"PK\x03\x04", "package.om", "om2", False),
        (b"PK\x03\x04", "package.OM2", "om2", False),
        (static_om(encrypted=1), "", "om-encrypted", False),
    ],
)
def test_formats_are_recognised(data: bytes, name: str, format_name: str, planned: bool) -> None:
    facts = read_model_facts(data, name)
    assert (facts.format, facts.file) == (format_name, name)
    assert (facts.size is not None) == planned
    assert facts.note or planned
    assert facts.file_sha256 == hashlib.sha256(data).hexdigest()
    json.dumps(dict(facts.details))


def test_facts_of_a_static_model(tmp_path: Path) -> None:
    path = tmp_path / "static.om"
    path.write_bytes(om_bytes(OmSpec(work_bytes=512, weight_bytes=100, soc="Ascend310P3")))
    facts = read_model_facts(path)
    assert facts.file == str(path)
    assert (facts.work_bytes, facts.weight_bytes, facts.soc) == (512, 100, "Ascend310P3")
    assert not facts.dynamic
    assert facts.size is not None
    assert facts.size.weights_digest == facts.weights_sha256 != ""
    assert facts.size.file_digest == facts.file_sha256
    details = dict(facts.details)
    assert details["header_version"] == "0x20000000"
    assert details["streams"] == 1
    partitions = read_om(path).tables[0]
    assert details["partitions"] == (
        tuple(f"{part.name}:{part.size_bytes}" for part in partitions),
    )
    assert [part.name for part in partitions] == ["MODEL_DEF", "WEIGHTS_DATA", "TASK_INFO"]


def test_dynamic_models_say_so() -> None:
    rows = [(MODEL_DEF, model_def())], [(WEIGHTS, b"abc")]
    facts = read_model_facts(plain_om(*rows, model_num=2))
    assert facts.dynamic
    assert facts.size is not None
    assert facts.size.system_managed


def test_without_digests_nothing_is_hashed() -> None:
    calls: list[tuple[int, int]] = []
    facts = read_model_facts(
        static_om(), with_digests=False, progress=lambda done, total: calls.append((done, total))
    )
    assert (facts.file_sha256, facts.weights_sha256, calls) == ("", "", [])


def test_progress_follows_the_hashing() -> None:
    seen: list[tuple[int, int]] = []
    read_model_facts(static_om(), progress=lambda done, total: seen.append((done, total)))
    assert seen == [(len(static_om()), len(static_om()))]


@pytest.mark.parametrize("suffix", [".om", ".OM", ".om2"])
def test_a_damaged_file_is_judged_by_its_suffix(suffix: str) -> None:
    with pytest.raises(FormatError, match=r"expected b'IMOD': not an \.om file"):
        read_model_facts(b"<html>" * 100, f"model{suffix}")


@pytest.mark.parametrize("data", [b"", b"<html>", b"PK\x03\x04 some other package"])
def test_unknown_formats_name_the_known_ones(data: bytes) -> None:
    with pytest.raises(
        FormatError, match="expected a model file of a known format: om, arena, or onnx"
    ):
        read_model_facts(data, "model.dat")


def test_names_of_formats_are_unique() -> None:
    assert len({row.name for row in FORMATS}) == len(FORMATS)
    assert format_of(ByteSource(memoryview(static_om()))) is FORMATS[0]
