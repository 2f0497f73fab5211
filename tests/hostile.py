"""Names that try to leave the text they are shown in, and a fleet that has them all."""

from planner.fleet import DeviceSpec, FleetSpec, ModelSpec, PipelineSpec, StepSpec
from planner.model import ModelId, ModelSize
from planner.pipeline import plan_fleet
from planner.plan import Plan

__all__ = ["HOSTILE", "hostile_plan"]

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"quoted\" 'twice' \\ and ${braces} {{ 7*7 }} end",
    "a|b *bold* [link](javascript:alert(1)) `code`",
    "*/ int x; /* ??/",
    "=HYPERLINK(1)",
    "\u05e9\u05dc\u05d5\u05dd \u0645\u0631\u062d\u0628\u0627",
    "long-" + "x" * 10_000,
    "&amp;]]> -->",
    "\u68c0\u6d4b" * 60,
)


def hostile_plan(*, limit: int | None = 1 << 30) -> Plan:
    """A plan whose fleet, models, lanes, pipelines and reserves have hostile names."""
    models = tuple(ModelSpec(ModelId(n), work_bytes=5_000, weight_bytes=900) for n in HOSTILE)
    pipelines = tuple(
        PipelineSpec(
            name.replace(".", "").replace("[", "").replace("]", ""),
            (StepSpec("s", model.id, name.replace("{", "").replace("}", "")),),
        )
        for name, model in zip(HOSTILE, models, strict=True)
    )
    device = DeviceSpec(limit, ((HOSTILE[0], 4096),))
    fleet = FleetSpec(HOSTILE[1], models, pipelines, device)
    sizes = {model.id: ModelSize(5_000, 900) for model in models}
    return plan_fleet(fleet, sizes)
