"""Which instances share one weight buffer, and that different contents never share a byte."""

import pytest

from planner.fleet import Dedupe
from planner.model import DEFAULT_RULE, InstanceId, ModelId, ModelSize
from planner.weights import lay_out_weights, weights_key


def size(
    weights: int = 1000, *, file: str = "", digest: str = "", managed: bool = False
) -> ModelSize:
    return ModelSize(
        work_bytes=64,
        weight_bytes=weights,
        file_digest=file,
        weights_digest=digest,
        system_managed=managed,
    )


A, B = ModelId("a"), ModelId("b")
A1, A2, B1 = InstanceId("a@1"), InstanceId("a@2"), InstanceId("b@1")
ROWS = [(A1, A), (A2, A), (B1, B)]


@pytest.mark.parametrize(
    ("dedupe", "sizes", "buffers"),
    [
        # two lanes of one model share; another file does not
        (Dedupe.FILE, {A: size(file="f1", digest="w"), B: size(file="f2", digest="w")}, 2),
        # the same file under two names is one content
        (Dedupe.FILE, {A: size(file="f", digest="w"), B: size(file="f", digest="w")}, 1),
        # opt-in: equal weight bytes of different files
        (Dedupe.WEIGHTS, {A: size(file="f1", digest="w"), B: size(file="f2", digest="w")}, 1),
        (Dedupe.WEIGHTS, {A: size(file="f1", digest="w1"), B: size(file="f2", digest="w2")}, 2),
        # declared models have no bytes to compare: distinct, even under `weights`
        (Dedupe.WEIGHTS, {A: size(), B: size()}, 2),
        (Dedupe.OFF, {A: size(file="f", digest="w"), B: size(file="f", digest="w")}, 3),
        # nothing to place
        (Dedupe.FILE, {A: size(0), B: size(managed=True)}, 0),
    ],
)
def test_dedupe_decides_how_many_buffers_there_are(
    dedupe: Dedupe, sizes: dict[ModelId, ModelSize], buffers: int
) -> None:
    layout = lay_out_weights(ROWS, sizes, dedupe, DEFAULT_RULE)
    assert len(layout.offsets) == buffers
    assert set(layout.keys) == {A1, A2, B1}
    assert {key for key in layout.keys.values() if key} == set(layout.offsets)


def test_buffers_lie_one_after_the_other() -> None:
    sizes = {A: size(1000, file="f1"), B: size(513, file="f2")}
    layout = lay_out_weights(ROWS, sizes, Dedupe.FILE, DEFAULT_RULE)
    assert dict(layout.offsets) == {"file:f1": 0, "file:f2": DEFAULT_RULE.reserved_bytes(1000)}
    assert layout.height_bytes == sum(map(DEFAULT_RULE.reserved_bytes, (1000, 513)))


def test_a_model_named_like_a_digest_shares_with_nobody() -> None:
    digest = "f" * 64
    declared = weights_key(A1, ModelId(digest), size(), Dedupe.FILE)
    assert declared != weights_key(B1, B, size(file=digest), Dedupe.FILE)
