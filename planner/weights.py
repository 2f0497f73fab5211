"""Which instances read one weight buffer, and where the weight buffers lie.

Weights are live as long as anything is loaded, so no two different buffers ever share bytes: the
smallest layout is one after the other, and what can be saved is saved by deduplication alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from planner.fleet import Dedupe
from planner.model import InstanceId, ModelId, ModelSize, RegionRule

__all__ = ["WeightLayout", "lay_out_weights", "weights_key"]


@dataclass(frozen=True, slots=True)
class WeightLayout:
    """One offset per distinct weight buffer.

    Attributes
    ----------
    keys : mapping of InstanceId to str
        Buffer that an instance reads; empty text: none inside the arena.
    offsets : mapping of str to int
        Key -> bytes from the base of the weight reservation.
    height_bytes : int
        Highest reserved end, bytes.
    """

    keys: Mapping[InstanceId, str]
    offsets: Mapping[str, int]
    height_bytes: int


def weights_key(instance: InstanceId, model: ModelId, size: ModelSize, dedupe: Dedupe) -> str:
    """Return the name of the weight buffer that `instance` reads; empty where there is none.

    Instances with equal keys read the same bytes. A declared model has no file to compare: it owns
    weights that only its own instances share.
    """
    if size.system_managed or size.weight_bytes == 0:
        return ""
    match dedupe:
        case Dedupe.OFF:
            return f"instance:{instance}"
        case Dedupe.WEIGHTS if size.weights_digest:
            return f"weights:{size.weights_digest}"
        case _:
            return f"file:{size.file_digest}" if size.file_digest else f"model:{model}"


def lay_out_weights(
    instances: Sequence[tuple[InstanceId, ModelId]],
    sizes: Mapping[ModelId, ModelSize],
    dedupe: Dedupe,
    rule: RegionRule,
) -> WeightLayout:
    """Place every distinct weight buffer, in order of first use, one after the other.

    Parameters
    ----------
    instances : sequence of (InstanceId, ModelId)
        In order of first use.
    sizes : mapping of ModelId to ModelSize
        Every model that an instance names.
    dedupe : Dedupe
    rule : RegionRule

    Examples
    --------
    >>> from planner.model import DEFAULT_RULE
    >>> pair = [(InstanceId("m@a"), ModelId("m")), (InstanceId("m@b"), ModelId("m"))]
    >>> sizes = {ModelId("m"): ModelSize(work_bytes=0, weight_bytes=1000)}
    >>> lay_out_weights(pair, sizes, Dedupe.FILE, DEFAULT_RULE).height_bytes
    1536
    >>> lay_out_weights(pair, sizes, Dedupe.OFF, DEFAULT_RULE).height_bytes
    3072
    """
    keys: dict[InstanceId, str] = {}
    offsets: dict[str, int] = {}
    height = 0
    for instance, model in instances:
        size = sizes[model]
        key = weights_key(instance, model, size, dedupe)
        keys[instance] = key
        if key and key not in offsets:
            offsets[key] = height
            height += rule.reserved_bytes(size.weight_bytes)
    return WeightLayout(keys, offsets, height)
