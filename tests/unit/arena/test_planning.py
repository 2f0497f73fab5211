"""From files to models: names, warnings, and what is left out."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from arena.formats.om_tensors import Gears, GearsKind
from arena.formats.om_writer import OmSpec, om_bytes, write_om
from arena.planning import measure_files, plan_file, plan_spec
from arena.sizes import read_facts
from arena.sources import locate_model, stand_in
from planner.errors import DecodeError, SpecError
from planner.fleet import ModelSpec
from planner.model import ModelId, TensorSpec
from tests.fleets import small_fleet, write_fleet


def test_files_of_one_stem_get_names_of_their_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        path = Path(folder) / "model@v1.om"
        write_om(path, OmSpec(work_bytes=512, weight_bytes=512))
        paths.append(path)
    measured = measure_files(paths, Path())
    assert [model.id for model in measured.models] == ["model-v1", "model-v1-2"]
    assert [model.file for model in measured.models] == ["a/model@v1.om", "b/model@v1.om"]


def test_models_with_gears_are_planned_at_the_largest_or_left_out_and_named(tmp_path: Path) -> None:
    path, unknown = tmp_path / "geared.om", tmp_path / "preprocessed.om"
    gears = Gears(GearsKind.BATCH, ((1,), (2,)))
    write_om(path, OmSpec(work_bytes=512, weight_bytes=512, gears=gears))
    aipp = (TensorSpec("ascend_dynamic_aipp_data", "uint8", (64,), 64),)
    write_om(unknown, OmSpec(work_bytes=512, weight_bytes=512, gears=gears, inputs=aipp))
    measured = measure_files([path, unknown], tmp_path)
    assert [model.id for model in measured.models] == ["geared"]
    assert measured.warnings[0].endswith("planned at its largest gear of dynamic batch: 1, 2")
    assert "preprocessed.om: left out: wants a choice of" in measured.warnings[1]


def test_dynamic_models_are_warned_of(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street")
    write_om(fleet.parent / "models" / "rec.om", OmSpec(submodel_weight_bytes=(512,)))
    planned = plan_file(fleet)
    assert any(warning.startswith("models.reader: ") for warning in planned.warnings)
    assert planned.plan.outside_bytes > 0


def test_an_unused_model_is_a_warning_and_is_not_opened(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street")
    text = fleet.read_text().replace("pipelines:", "  idle: {file: absent.om}\npipelines:", 1)
    fleet.write_text(text)
    assert plan_file(fleet).warnings == ("models.idle: no step uses this model; it is not loaded",)


LOCKED = """\
version: 1
models: {m: {work: 1KiB, weights: 0}}
pipelines:
  one: {channels: %d, frames_in_flight: %d, steps: {s: {model: m, locks: [%s]}}}
  two: {lane: other, steps: {s: {model: m, locks: [heavy]}, t: {model: m, locks: [heavy]}}}
"""


@pytest.mark.parametrize(
    ("channels", "frames", "lock", "near"),
    [
        (1, 1, "heavvy", "; did you mean 'heavy'?"),
        (1, 1, "quiet", ""),
        (1, 1, '"own-{channel}"', ""),
        (3, 1, '"own-{channel}"', ""),
        (1, 1, "one", ""),
        (1, 1, "heavy", None),  # held by the steps of the other pipeline
        (1, 1, "other", None),  # a lane is a lock
        (2, 1, "heavvy", None),  # two channels take turns
        (1, 2, "heavvy", None),  # two frames do
        (3, 2, '"own-{channel}"', None),
    ],
)
def test_a_lock_that_excludes_nothing_is_a_warning(
    channels: int, frames: int, lock: str, near: str | None, tmp_path: Path
) -> None:
    fleet = tmp_path / "fleet.yaml"
    fleet.write_text(LOCKED % (channels, frames, lock))
    place = "pipelines.one.steps.s.locks[0]: no other execution ever holds"
    name = lock.strip('"')
    warning = f"{place} {name!r}, so it excludes nothing{near}"
    assert plan_file(fleet).warnings == (() if near is None else (warning,))


def test_one_file_under_two_names_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet = write_fleet(tmp_path / "street")
    fleet.write_text(fleet.read_text().replace("models/rec.om", "models/det.om"))
    calls = []
    import arena.sizes

    def counting(*arguments: object, **named: object) -> object:
        calls.append(arguments)
        return read_facts(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(arena.sizes, "read_facts", counting)
    plan = plan_file(fleet).plan
    assert len(calls) == 2
    keys = {row.model: row.weights_key for row in plan.instances}
    assert keys[ModelId("detector")] == keys[ModelId("reader")]


def test_a_bundle_cannot_be_planned(tmp_path: Path) -> None:
    fleet = write_fleet(tmp_path / "street")
    data = bytearray(om_bytes(OmSpec(work_bytes=512, weight_bytes=512)))
    data[80] = 1  # encrypted
    (fleet.parent / "models" / "rec.om").write_bytes(data)
    with pytest.raises(SpecError, match=r"models\.reader\.file: .*cannot be planned"):
        plan_file(fleet)


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(DecodeError, match="cannot be read"):
        read_facts(tmp_path)


def test_compiled_models_take_no_shapes(tmp_path: Path) -> None:
    write_om(tmp_path / "a.om", OmSpec(work_bytes=512, weight_bytes=512))
    model = ModelSpec(ModelId("a"), file="a.om", inputs=(("x", (1, 3)),))
    with pytest.raises(SpecError, match=r"models\.a\.inputs: a\.om is compiled"):
        locate_model(model, tmp_path)


def test_stand_ins_have_the_declared_sizes_and_bytes_of_their_own(tmp_path: Path) -> None:
    first, second, _ = small_fleet().models
    assert stand_in(first) != stand_in(second)
    path = tmp_path / "stand-in.om"
    path.write_bytes(stand_in(first))
    facts = read_facts(path)
    assert (facts.work_bytes, facts.weight_bytes) == (first.work_bytes, first.weight_bytes)


def test_bytes_from_the_caller_are_measured_like_a_file(tmp_path: Path) -> None:
    fleet = small_fleet()
    data = {model.id: stand_in(model) for model in fleet.models}
    models = tuple(ModelSpec(model.id, file=f"{model.id}.enc") for model in fleet.models)
    readers = {str(name): partial(data.__getitem__, name) for name in data}
    planned = plan_spec(replace(fleet, models=models), tmp_path, readers=readers)
    assert [len(size.file_digest) for _, size in planned.plan.sizes] == [64, 64, 64]
    with pytest.raises(SpecError, match=r"models\.big: declares its sizes"):
        plan_spec(fleet, tmp_path, readers=readers)
