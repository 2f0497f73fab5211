"""An application with its own context, streams and datasets adopts a plan: `attach` and slots.

    camera threads ──► queue ──► inference thread: detect ──► classify, once for each object found

    python examples/detect_and_classify.py [pictures per camera]

The application calls acl.init, creates the context and the streams, and executes the models itself.
It asks for a slot around each execution; the plan decides where the models' memory lies.
"""

import queue
import sys
import tempfile
import threading
from pathlib import Path

from acl_application import Datasets, check, find_acl, picture, write_models

from arena import attach

CAMERAS = 4
FLEET = """\
version: 1
name: detect-and-classify
models:
  detector: {file: detector.om}
  classifier: {file: classifier.om}
pipelines:
  camera:
    channels: 4
    lane: vision
    steps:
      detect: {model: detector}
      classify: {model: classifier, after: [detect]}
"""


def main(pictures: int) -> None:
    """Run all cameras and print what was done."""
    acl, _twin = find_acl()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sizes = {"detector": (6 << 20, 9 << 20), "classifier": (1 << 20, 3 << 20)}
        write_models(folder, sizes)
        (folder / "fleet.yaml").write_text(FLEET)
        check("init", acl.init())
        context, code = acl.rt.create_context(0)
        check("create_context", code)
        stream, code = acl.rt.create_stream()
        check("create_stream", code)
        with attach(
            folder / "fleet.yaml", context=context, streams={"vision": stream}, acl=acl
        ) as fleet:
            detections, classifications = serve(acl, fleet, context, pictures)
            print(fleet.report().text(), end="")
        # The context and the stream are still ours, and untouched.
        check("set_context", acl.rt.set_context(context))
        check("destroy_stream", acl.rt.destroy_stream(stream))
        check("destroy_context", acl.rt.destroy_context(context))
        check("finalize", acl.finalize())
    print(f"{detections} pictures detected, {classifications} objects classified")


def serve(acl, fleet, context, pictures):  # type: ignore[no-untyped-def]
    """Feed one inference thread from a thread for each camera; return how often it executed."""
    messages: queue.Queue[tuple[int, bytes] | None] = queue.Queue(maxsize=8)

    def camera(index: int) -> None:
        for number in range(pictures):
            messages.put((index, picture(1000 * index + number)))

    threads = [threading.Thread(target=camera, args=(index,)) for index in range(CAMERAS)]
    for thread in threads:
        thread.start()
    check("set_context", acl.rt.set_context(context))
    datasets: dict[int, Datasets] = {}
    done = {"detect": 0, "classify": 0}

    def execute(frame, step: str, data: bytes) -> bytes:  # type: ignore[no-untyped-def]
        with frame.slot(step) as slot:
            if slot.model_id not in datasets:
                datasets[slot.model_id] = Datasets(acl, slot.model_id)
            own = datasets[slot.model_id]
            own.fill(data)
            check(
                "execute_async",
                acl.mdl.execute_async(slot.model_id, own.inputs[0], own.outputs[0], slot.stream),
            )
            check("synchronize_stream", acl.rt.synchronize_stream(slot.stream))
            done[step] += 1
            return own.result()

    for _ in range(CAMERAS * pictures):
        message = messages.get()
        assert message is not None
        index, data = message
        with fleet.frame(f"camera[{index}]") as frame:
            boxes = execute(frame, "detect", data)
            for found in range(boxes[0] % 4):  # zero or more objects in the picture
                execute(frame, "classify", picture(found))
    for thread in threads:
        thread.join()
    for own in datasets.values():
        own.destroy()
    return done["detect"], done["classify"]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
