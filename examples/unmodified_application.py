"""An application that nobody changes gets planned memory: `patch_acl`.

    python examples/unmodified_application.py

`application` below loads models by path and executes them synchronously from several threads, as
samples do. It knows nothing of plans; only the block around it does. Prints the device memory that
its models take without and with the plan.
"""

import tempfile
import threading
from pathlib import Path
from types import ModuleType

from acl_application import Datasets, check, find_acl, picture, write_models

from arena import patch_acl
from arena.planning import plan_file

SIZES = {
    "detector": (6 << 20, 9 << 20),
    "landmarks": (4 << 20, 2 << 20),
    "embedding": (3 << 20, 5 << 20),
}
FLEET = """\
version: 1
name: unmodified
models:
  detector: {file: detector.om}
  landmarks: {file: landmarks.om}
  embedding: {file: embedding.om}
pipelines:
  channel:
    channels: 12
    lane: npu
    steps:
      detect: {model: detector}
      landmark: {model: landmarks, after: [detect]}
      embed: {model: embedding, after: [landmark]}
"""


def application(acl: ModuleType, folder: Path) -> tuple[int, int]:
    """Load three models, run them from four threads, unload; return (bytes taken, executions)."""
    context, code = acl.rt.create_context(0)
    check("create_context", code)
    before = free_bytes(acl)
    ids, datasets = {}, {}
    for name in SIZES:
        ids[name], code = acl.mdl.load_from_file(str(folder / f"{name}.om"))
        check("load_from_file", code)
    taken = before - free_bytes(acl)
    for name in SIZES:
        datasets[name] = Datasets(acl, ids[name])
    own = {name: threading.Lock() for name in SIZES}  # its datasets, as applications guard them
    executions = []

    def work(seed: int) -> None:
        check("set_context", acl.rt.set_context(context))
        for number in range(20):
            for name in SIZES:
                with own[name]:
                    data = datasets[name]
                    data.fill(picture(100 * seed + number))
                    code = acl.mdl.execute(ids[name], data.inputs[0], data.outputs[0])
                    check("execute", code)
                executions.append(name)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in SIZES:
        datasets[name].destroy()
        check("unload", acl.mdl.unload(ids[name]))
    check("destroy_context", acl.rt.destroy_context(context))
    return taken, len(executions)


def free_bytes(acl: ModuleType) -> int:
    """Return the free memory that the device reports: DDR, else HBM."""
    for attribute in (0, 1):
        free, total, code = acl.rt.get_mem_info(attribute)
        if code == 0 and total:
            return int(free)
    raise SystemExit("get_mem_info failed")


def main() -> None:
    """Run the application as it is, then with a plan behind it."""
    acl, _twin = find_acl()
    check("init", acl.init())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_models(folder, SIZES)
        (folder / "fleet.yaml").write_text(FLEET)
        alone, executions = application(acl, folder)
        planned = plan_file(folder / "fleet.yaml")
        with patch_acl(planned.plan, acl=acl, base=planned.base):
            shared, same = application(acl, folder)
    check("finalize", acl.finalize())
    assert executions == same
    mib = 1 << 20
    print(
        f"{executions} executions each; models take {alone / mib:.1f} MiB alone, "
        f"{shared / mib:.1f} MiB planned"
    )


if __name__ == "__main__":
    main()
