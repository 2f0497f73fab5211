"""Fleet files: what they mean, and one hostile file for every rule."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from planner.codec import fleet_to_mapping
from planner.errors import SpecError
from planner.fleet import CrossStream, Dedupe, FleetSpec
from planner.fleet_file import decode_fleet, fleet_schema, parse_fleet, parse_text
from planner.fleet_file.text import NODES_MAX, TEXT_BYTES_MAX
from planner.units import MiB

ROOT = Path(__file__).parents[3]
FULL = """
version: 1
name: street-corner
models:
  detector: {file: models/det.onnx, inputs: {x: [1, 3, 320, 320]}}
  reader:   {file: models/rec.om}
  tracker:  {work: 11MiB, weights: 1.5 KiB}
pipelines:
  camera:
    channels: 4
    frames_in_flight: 2
    rate: 12.5fps
    lane: "cam-{channel}"
    steps:
      detect: {model: detector, time: 12ms}
      read:   {model: reader, after: [detect], time: 4000}
      track:  {model: tracker, after: [detect, read], lane: tracking, locks: [npu, "l{channel}"]}
  door:
    steps: {ring: {model: reader}}
device: {memory: 21527MiB, reserve: {system: 1800MiB, vdec: 600}, dedupe: off, streams: 8,
         cross_stream: events}
"""
MINIMAL = (
    "version: 1\nmodels: {m: {work: 1, weights: 1}}\npipelines: {p: {steps: {s: {model: m}}}}\n"
)


def _examples() -> dict[str, str]:
    """Every fleet file that the project shows to people."""
    found = {path.name: path.read_text() for path in sorted(ROOT.glob("examples/**/*.yaml"))}
    for block in re.findall(r"```yaml\n(version: 1.*?)```", _design(), re.DOTALL):
        found["design.md"] = block
    return {**found, "full": FULL, "minimal": MINIMAL}


def _design() -> str:
    return (ROOT / "docs" / "design.md").read_text()


def test_everything_that_a_file_says_is_in_the_fleet() -> None:
    fleet = parse_fleet(FULL)
    assert fleet.name == "street-corner"
    detector, reader, tracker = fleet.models
    assert (detector.file, detector.inputs) == ("models/det.onnx", (("x", (1, 3, 320, 320)),))
    assert (reader.file, reader.work_bytes) == ("models/rec.om", None)
    assert (tracker.work_bytes, tracker.weight_bytes) == (11 * MiB, 1536)
    camera, door = fleet.pipelines
    assert (camera.channels, camera.frames_in_flight) == (4, 2)
    assert (camera.rate_millihertz, door.rate_millihertz) == (12_500, None)
    detect, read, track = camera.steps
    assert (detect.lane, detect.time_ns, detect.after) == ("cam-{channel}", 12_000_000, ())
    assert (read.lane, read.time_ns, read.after) == ("cam-{channel}", 4_000, ("detect",))
    assert (track.lane, track.locks) == ("tracking", ("npu", "l{channel}"))
    assert (door.channels, door.frames_in_flight, door.steps[0].lane) == (1, 1, "door")
    assert fleet.device.memory_bytes == 21_527 * MiB
    assert fleet.device.reserve == (("system", 1_800 * MiB), ("vdec", 600))
    assert fleet.device.dedupe is Dedupe.OFF
    assert fleet.device.streams_max == 8
    assert fleet.device.cross_stream is CrossStream.EVENTS


def test_what_a_file_leaves_out_is_the_default() -> None:
    fleet = parse_fleet(MINIMAL, name="stem")
    assert fleet.name == "stem"
    assert fleet.device == FleetSpec("x", fleet.models, fleet.pipelines).device


def test_one_reserve_is_named_reserve() -> None:
    assert parse_fleet(MINIMAL + "device: {reserve: 2GiB}").device.reserve == (
        ("reserve", 2 << 30),
    )


def test_json_is_read_as_json() -> None:
    data = yaml.safe_load(FULL.replace("dedupe: off", "dedupe: 'off'"))
    assert parse_fleet(json.dumps(data, indent="\t")) == parse_fleet(FULL)
    assert parse_fleet(b"\xef\xbb\xbf" + json.dumps(data).encode()) == parse_fleet(FULL)
    assert decode_fleet(data) == parse_fleet(FULL)


def test_yaml_in_flow_style_is_no_json_but_read() -> None:
    flow = (
        "{version: 1, models: {m: {work: 1, weights: 1}}, pipelines: {p: {steps: {s: {model: m}}}}}"
    )
    assert parse_fleet(flow) == parse_fleet(MINIMAL)


def test_anchors_and_merges_spare_repetition() -> None:
    fleet = parse_fleet(
        "version: 1\n"
        "models: {m: {work: 1, weights: 1}}\n"
        "pipelines:\n"
        "  a: &base {channels: 3, steps: {s: &step {model: m, lane: x}}}\n"
        "  b: {<<: *base, channels: 5}\n"
        "  c: {steps: {t: {<<: [*step, {lane: y, locks: [l]}]}}}\n"
    )
    a, b, c = fleet.pipelines
    assert (a.channels, b.channels, b.steps) == (3, 5, a.steps)
    assert (c.steps[0].lane, c.steps[0].locks) == ("x", ("l",))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # YAML 1.2's core schema; version 1.1 would make the first five truth values and numbers
        ("off", "off"),
        ("no", "no"),
        ("1:30", "1:30"),
        ("012", "012"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("0x1F", 31),
        ("-7", -7),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        ("'1'", "1"),
        ('"\\u8857"', "街"),
        ("9999999999999999999999", "9999999999999999999999"),
        ("! 5", "5"),
        ("{1: 2}", {"1": 2}),  # a name is text
    ],
)
def test_scalars(text: str, value: object) -> None:
    assert parse_text(f"k: {text}") == {"k": value}


def _with(section: str, key: str = "x") -> str:
    """The minimal file with one more section, in a line."""
    return f"{MINIMAL}{key}: {section}"


def _step(step: str) -> str:
    return MINIMAL.replace("s: {model: m}", step)


def _model(model: str) -> str:
    return MINIMAL.replace("m: {work: 1, weights: 1}", model)


def _pipeline(pipeline: str) -> str:
    return MINIMAL.replace("p: {steps: {s: {model: m}}}", pipeline)


LAUGHS = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
DEEP_ALIASES = "a: &a [[[[[[[[x]]]]]]]]\n" + "".join(
    f"{name}: &{name} [[[[[[[[*{before}]]]]]]]]\n"
    for before, name in zip("abcde", "bcdef", strict=True)
)

HOSTILE: list[tuple[str | bytes, str, str]] = [
    # Text
    ("", "", "found nothing, expected a mapping: version, models, pipelines"),
    ("- version", "", "found a list, expected a mapping"),
    ("7", "", "found int 7, expected a mapping"),
    ("a: [", "", "line 2, column 1: did not find expected node content, expected YAML or JSON"),
    ("{a: ]", "", "line 1, column 5"),
    ('{"version": 1,}}', "", "line 1, column 16"),
    ("a: b: c", "", "line 1, column 5: mapping values are not allowed in this context"),
    ("\0", "", "control characters are not allowed"),
    (b"\xff\xfe", "", "expected UTF-8 text: 'utf-8' codec can't decode byte 0xff"),
    ("\ud800", "", "expected UTF-8 text"),
    ("a: 1\n---\nb: 2", "", "found a second document (line 2), expected one"),
    ("? [a]\n: b", "", "found a key that is no text (line 1)"),
    ("x: !!python/object/apply:os.system [ls]", "x", "found the tag"),
    ("x: *y", "x", "found the unknown alias *y (line 1)"),
    ("x: &a [*a]", "x[0]", "found the unknown alias *a (line 1)"),
    ("x: {<<: 3}", "x.<<", "expected a mapping, or a list of them, to merge"),
    ("x: {<<: [3]}", "x.<<", "expected a mapping, or a list of them, to merge"),
    ("x: {<<: {}, <<: {}}", "x.<<", "is given twice (line 1)"),
    # Duplicates, which PyYAML and json let pass
    ("version: 1\nversion: 1", "version", "is given twice (line 2)"),
    (
        _pipeline("p: {steps: {s: {model: m}, s: {model: m}}}"),
        "pipelines.p.steps.s",
        "is given twice",
    ),
    ('{"models": {"m": 1, "m": 2}}', "models.m", "is given twice"),
    (_step("s: {model: m, locks: [l, l]}"), "pipelines.p.steps.s.locks", "'l' is given twice"),
    (_step("t: {model: m}, s: {model: m, after: [t, t]}"), "pipelines.p.steps.s.after", "'t' is"),
    # Size, depth, explosions
    ("a" * (TEXT_BYTES_MAX + 1), "", f"expected a file of at most {TEXT_BYTES_MAX}"),
    ("[" * 1_000_000, "[0]" * 33, "nested deeper than 32 levels (line 1)"),
    ("- " * 1_000_000, "[0]" * 33, "nested deeper than 32 levels (line 1)"),
    ('{"a":' * 500_000, "", "nested deeper than 32 levels"),
    ('{"a":' * 40 + "1" + "}" * 40, ".".join("a" * 33), "nested deeper than 32 levels"),
    (LAUGHS, "f[5]", f"found more than {NODES_MAX} values (line 6)"),
    (DEEP_ALIASES, "d" + "[0]" * 8, "nested deeper than 32 levels (line 4)"),
    ('{"version": ' + "9" * 5_000 + "}", "", "found a number of 5000 digits"),
    ('{"version": NaN}', "", "found NaN, which is no JSON"),
    # Head
    ("models: {}", "version", "is missing, expected 1"),
    (
        MINIMAL.replace("1", "2", 1),
        "version",
        "found 2, expected 1: the file needs a newer release",
    ),
    (MINIMAL.replace("1", "0", 1), "version", "found int 0, expected 1"),
    (MINIMAL.replace("1", "'1'", 1), "version", "found text '1', expected 1"),
    (MINIMAL.replace("1", "true", 1), "version", "found bool True, expected 1"),
    ("version: 1\nmodels: {}", "pipelines", "is missing, expected a mapping"),
    (_with("", "name"), "name", "found nothing, expected text"),
    (_with("''", "name"), "name", "name '': expected printable text without blank ends"),
    (_with("3", "modls"), "modls", "unknown key, expected one of version, models, pipelines, name"),
    (_with("3", "modls"), "modls", "did you mean 'models'?"),
    ('{"version": 1, "\\ud800": 1}', "\\ud800", "unknown key"),
    # Models
    ("version: 1\nmodels: []\npipelines: {}", "models", "found a list, expected a mapping"),
    (_model("m: 3"), "models.m", "found int 3, expected a mapping"),
    (_model("m: {}"), "models.m", "found neither, expected `file` or declared"),
    (_model("m: {file: a.om, work: 1, weights: 1}"), "models.m", "found both"),
    (_model("m: {work: 1}"), "models.m", "`weights` is missing"),
    (
        _model("m: {work: 1, weights: -1}"),
        "models.m.weights",
        "found int -1, expected a whole number",
    ),
    (_model("m: {work: 1, weights: -1B}"), "models.m.weights", "found '-1B', expected a size"),
    (_model("m: {work: 1, weights: 1.5}"), "models.m.weights", "found float 1.5, expected a whole"),
    (_model("m: {work: 1, weights: 1.5B}"), "models.m.weights", "not a whole number"),
    (_model("m: {work: 1, weights: 5EiB}"), "models.m.weights", "above the largest size, 2^62"),
    (_model("m: {work: 1, weights: [1]}"), "models.m.weights", "text such as 11MiB"),
    (_model("m: {file: 3}"), "models.m.file", "found int 3, expected text"),
    (_model("m: {file: ' a.om'}"), "models.m.file", "without blank ends"),
    (_model("m: {file: a.om, inputs: [1]}"), "models.m.inputs", "found a list, expected a mapping"),
    (_model("m: {file: a.om, inputs: {x: 3}}"), "models.m.inputs.x", "a list of whole numbers"),
    (_model("m: {file: a.om, inputs: {x: [1, 0]}}"), "models.m.inputs.x[1]", "found int 0"),
    (_model("m: {file: a.om, inputs: {x: [1, a]}}"), "models.m.inputs.x[1]", "found text 'a'"),
    (_model("m: {file: a.om, inputs: {' ': [1]}}"), "models.m.inputs", "printable text"),
    (_model("m: {work: 1, weights: 1, inputs: {x: [1]}}"), "models.m.inputs", "no shapes to fix"),
    (_model('"m@1": {work: 1, weights: 1}'), "models.m@1", "'@', which addresses parts of a fleet"),
    (_model('"m\\n1": {work: 1, weights: 1}'), "models.m\\n1", "expected printable text"),
    # Pipelines
    (_pipeline(""), "pipelines", "found no pipelines, expected at least one"),
    (_pipeline("p: {}"), "pipelines.p.steps", "is missing, expected a mapping"),
    (_pipeline("p: {steps: {}}"), "pipelines.p.steps", "found no steps, expected at least one"),
    (_pipeline("p: {steps: [s]}"), "pipelines.p.steps", "found a list, expected a mapping"),
    (_pipeline("p: {chanels: 2}"), "pipelines.p.chanels", "did you mean 'channels'?"),
    (
        _pipeline("p: {channels: 0, steps: {s: {model: m}}}"),
        "pipelines.p.channels",
        "from 1 to 100000",
    ),
    (_pipeline("p: {channels: four, steps: {}}"), "pipelines.p.channels", "found text 'four'"),
    (_pipeline("p: {channels: true, steps: {}}"), "pipelines.p.channels", "found bool True"),
    (
        _pipeline("p: {frames_in_flight: 100001, steps: {}}"),
        "pipelines.p.frames_in_flight",
        "100001",
    ),
    (
        _pipeline("p: {rate: 25, steps: {}}"),
        "pipelines.p.rate",
        "found int 25, expected text such as 25fps",
    ),
    (
        _pipeline("p: {rate: 25Hz, steps: {s: {model: m}}}"),
        "pipelines.p.rate",
        "found '25Hz', expected a rate such as 25fps or 12.5fps",
    ),
    (
        _pipeline("p: {rate: 0fps, steps: {s: {model: m}}}"),
        "pipelines.p.rate",
        "found 0, expected 1 to 1000000000000 frames in 1,000 s",
    ),
    (_pipeline("p: {lane: 3, steps: {}}"), "pipelines.p.lane", "found int 3, expected text"),
    (_pipeline("p.q: {steps: {s: {model: m}}}"), "pipelines.p.q", "has '.', which addresses parts"),
    (
        _pipeline(
            "p: {channels: 100000, steps: {"
            + ", ".join(f"s{k}: {{model: m}}" for k in range(11))
            + "}}"
        ),
        "pipelines",
        "channels x (frames in flight + 1) x steps is 2200000, expected at most 2000000",
    ),
    # Steps
    (_step("s: read"), "pipelines.p.steps.s", "found text 'read', expected a mapping"),
    (_step("s: {}"), "pipelines.p.steps.s.model", "is missing, expected text"),
    (
        _step("s: {model: mm}"),
        "pipelines.p.steps.s.model",
        "unknown model 'mm', expected one of 'm'",
    ),
    (_step("s: {model: m, aftr: []}"), "pipelines.p.steps.s.aftr", "did you mean 'after'?"),
    (_step("s: {model: m, after: t}"), "pipelines.p.steps.s.after", "a list of names such as"),
    (
        _step("s: {model: m, after: [1]}"),
        "pipelines.p.steps.s.after[0]",
        "found int 1, expected text",
    ),
    (
        _step("detect: {model: m}, s: {model: m, after: [detct]}"),
        "pipelines.p.steps.s.after[0]",
        "unknown step 'detct', expected one of 'detect', 's'; did you mean 'detect'?",
    ),
    (_step("s: {model: m, after: [s]}"), "pipelines.p.steps", "`after` has a cycle: s after s"),
    (
        _step("a: {model: m, after: [c]}, b: {model: m, after: [a]}, c: {model: m, after: [b]}"),
        "pipelines.p.steps",
        "`after` has a cycle: a after c after b after a",
    ),
    (_step("s: {model: m, lane: 'a@b'}"), "pipelines.p.steps.s.lane", "has '@'"),
    (_step("s: {model: m, lane: 'a-{chanel}'}"), "pipelines.p.steps.s.lane", "is {channel}"),
    # A lane that several steps have of their pipeline, or of its name, stands there in the file.
    (
        _pipeline("p: {lane: 'a-{chan}', steps: {s: {model: m, lane: x}, t: {model: m}}}"),
        "pipelines.p.lane",
        "name 'a-{chan}': the only placeholder is {channel}",
    ),
    (
        _pipeline(
            "p: {lane: {pool: o, size: 2}, steps: {s: {model: m}}}, "
            "q: {lane: {pool: o, size: 3}, steps: {s: {model: m}}}"
        ),
        "pipelines.q.lane.size",
        "found 3, but pool 'o' has size 2 elsewhere",
    ),
    (
        _pipeline(
            "p: {lane: {pool: o, size: 2}, steps: {s: {model: m}}}, "
            "q: {lane: 'o[1]', steps: {s: {model: m}}}"
        ),
        "pipelines.q.lane",
        "'o[1]' belongs to pool 'o': give the lane another name",
    ),
    (
        _pipeline("p@q: {steps: {s: {model: m}}}"),
        "pipelines.p@q",
        "has '@', which addresses parts of a fleet; a pipeline's name is its lane: give it",
    ),
    (_pipeline("a.steps.b.lane: {steps: {s: {model: m}}}"), "pipelines.a.steps.b.lane", "'.'"),
    # Braces that are not quoted are a mapping's: the parser does not know what was meant.
    (_step("s: {model: m, lane: cam-{channel}}"), "", 'quote it, "cam-{channel}"'),
    (_step("s: {model: m, lane: {channel}-cam}"), "", 'quote it, "{channel}-cam"'),
    ("a:\n  lane: {chan}x\n", "", 'quote it, "{chan}x"'),
    (_step("s: {model: m, locks: [npu, l{channel}]}"), "", 'quote it, "l{channel}"'),
    (_step("s: {model: m, locks: [{}]}"), "pipelines.p.steps.s.locks[0]", "expected text"),
    (_step("s: {model: m, locks: [a, '']}"), "pipelines.p.steps.s.locks[1]", "name ''"),
    (
        _step("s: {model: m, time: 12}, t: {model: m, time: '12'}"),
        "pipelines.p.steps.t.time",
        "unit",
    ),
    (_step("s: {model: m, time: soon}"), "pipelines.p.steps.s.time", "such as 12ms"),
    (_step("s: {model: m, time: 9999999999min}"), "pipelines.p.steps.s.time", "0 to 2^62 ns"),
    # Device
    (_with("", "device"), "device", "found nothing, expected a mapping"),
    (_with("{memory: lots}", "device"), "device.memory", "found 'lots', expected a size"),
    (_with("{memory: null}", "device"), "device.memory", "found nothing, expected a whole number"),
    (_with("{reserve: {a: x}}", "device"), "device.reserve.a", "found 'x', expected a size"),
    (_with("{reserve: {a: 1.5}}", "device"), "device.reserve.a", "found float 1.5"),
    (_with("{reserve: [1]}", "device"), "device.reserve", "found a list"),
    (_with("{reserve: x}", "device"), "device.reserve", "found 'x'"),
    (_with("{dedupe: false}", "device"), "device.dedupe", "found bool False, expected one of"),
    (_with("{dedupe: weight}", "device"), "device.dedupe", "did you mean 'weights'?"),
    (_with("{streams: -1}", "device"), "device.streams", "from 0 to 100000"),
    (_with("{cross_stream: event}", "device"), "device.cross_stream", "one of host, events"),
]


def _id(value: object) -> str:
    return ascii(value)[1:50]


@pytest.mark.parametrize(("text", "path", "part"), HOSTILE, ids=_id)
def test_hostile_files_are_refused_at_their_place(text: str | bytes, path: str, part: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_fleet(text)
    assert (caught.value.path, part in caught.value.message) == (path, True), str(caught.value)


@pytest.mark.parametrize(
    "text", ["a: [{x}, [b}]\n", 'a: {b: 1\nlane: "c-{channel}"\n', "a: {lane: cam-{channel}\n\n  "]
)
def test_quotes_are_asked_for_where_they_help(text: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_fleet(text)
    helps = "cam-" in text
    assert caught.value.message.endswith(
        'quote it, "cam-{channel}"' if helps else "expected YAML or JSON"
    )


def test_the_same_without_libyaml(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yaml.__with_libyaml__", False)
    assert parse_fleet(FULL) == decode_fleet(yaml.safe_load(FULL.replace("off", "'off'")))
    for text in (LAUGHS, DEEP_ALIASES, "[" * 1_000_000, "a: b: c", "\0", "x: *y"):
        with pytest.raises(SpecError):
            parse_fleet(text)


def test_keys_that_are_no_text_are_named() -> None:
    data: dict[Any, Any] = {"version": 1, "models": {7: {}}, "pipelines": {}}
    with pytest.raises(SpecError) as caught:
        decode_fleet(data)
    assert str(caught.value) == "models: found int 7 as a name, expected text"


def test_the_schema_is_valid_and_describes_every_key() -> None:
    schema = fleet_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    sections = [part for part in (schema, *schema["$defs"].values()) if "properties" in part]
    assert len(sections) == 7
    for section in sections:
        assert section["additionalProperties"] is False
        assert all(part.get("description") for part in section["properties"].values())


@pytest.mark.parametrize("name", _examples())
def test_every_example_is_a_fleet_and_fits_the_schema(name: str) -> None:
    data = parse_text(_examples()[name])
    jsonschema.validate(data, fleet_schema())
    assert isinstance(decode_fleet(data, name="example"), FleetSpec)


@pytest.mark.parametrize(
    "text",
    [
        _model("m: {}"),
        _model("m: {file: a.om, work: 1, weights: 1}"),
        _model("m: {work: 1, weights: 1, inputs: {x: [1]}}"),
        _model("m: {work: 1, weights: 11Mi}"),
        _pipeline("p: {steps: {}}"),
        _step("s: {model: m, after: t}"),
        _step("s: {model: m, time: '12'}"),
        _with("{dedupe: weight}", "device"),
        _with("1", "extra"),
    ],
)
def test_the_schema_refuses_what_it_can_see(text: str) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(parse_text(text), fleet_schema())


GEARED = """
    version: 1
    models: {read: {file: rec.onnx, gears: {x: [[1, 3, 48, 320], [8, 3, 48, 320]], n: [[1], [8]]}}}
    pipelines: {p: {steps: {read: {model: read}}}}
    """


def test_gears_of_a_file_that_is_compiled_here() -> None:
    fleet = parse_fleet(GEARED)
    assert fleet.models[0].gear_shapes()[1] == {"x": (8, 3, 48, 320), "n": (8,)}
    jsonschema.validate(parse_text(GEARED), fleet_schema())
    assert decode_fleet(fleet_to_mapping(fleet)) == parse_fleet(GEARED, name="fleet")


@pytest.mark.parametrize(
    ("gears", "message"),
    [
        ("{x: [1, 8]}", "models.read.gears.x[0]: found int 1, expected a list of whole numbers"),
        ("{x: 8}", "models.read.gears.x: found int 8, expected a list of shapes such as [[1, 3]"),
        ("[1, 8]", "models.read.gears: found a list, expected a mapping"),
    ],
)
def test_faults_in_gears_have_their_place(gears: str, message: str) -> None:
    text = GEARED.replace("{x: [[1, 3, 48, 320], [8, 3, 48, 320]], n: [[1], [8]]}", gears)
    with pytest.raises(SpecError) as caught:
        parse_fleet(text)
    assert str(caught.value).startswith(message)
