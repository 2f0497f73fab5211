"""``acl.mdl``: descriptions of models."""

from collections.abc import Sequence
from typing import Any, Final

from arena.device.acl_codes import AclCode
from arena.device.acl_types import DATA_TYPES, TensorFormat
from arena.device.twin.binding import CallFailed, acl_call
from arena.device.twin.gears import choices_of, input_shapes, output_shape
from arena.device.twin.process import LoadedModel, Process
from arena.formats.om import OmFile
from arena.formats.om_tensors import GearsKind
from planner.model import TensorSpec

__all__ = ["DescriptionCalls"]

_UNDEFINED: Final = -1
_DATA_TYPE_NUMBERS: Final = {name: number for number, name in DATA_TYPES.items()}
_EMPTY: Final[tuple[dict[str, Any]]] = ({},)


class DescriptionCalls:
    """The functions of ``acl.mdl`` that describe models, over one process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._descs: dict[int, OmFile | None] = {}
        self._models: dict[int, LoadedModel] = {}

    @acl_call(bare=True, failed=(0,))
    def create_desc(self) -> int:
        """Create an empty description."""
        return self._process.keep(self._descs, None)

    @acl_call("k")
    def destroy_desc(self, desc: int) -> None:
        """Forget a description."""
        self._process.drop(self._descs, desc, AclCode.INVALID_PARAM, "description")
        self._models.pop(desc, None)

    def _fill_desc(self, desc: int, om: OmFile) -> None:
        self._process.get(self._descs, desc, AclCode.INVALID_PARAM, "description")
        self._descs[desc] = om
        self._models.pop(desc, None)

    @acl_call("kI")
    def get_desc(self, desc: int, number: int) -> None:
        """Describe a loaded model."""
        models = self._process.models
        model = self._process.get(models, number, AclCode.GE_EXEC_MODEL_ID_INVALID, "model")
        self._fill_desc(desc, model.image.om)
        self._models[desc] = model

    @acl_call("ks")
    def get_desc_from_file(self, desc: int, path: str) -> None:
        """Describe a model file."""
        self._fill_desc(desc, self._process.images.read(path).om)

    @acl_call("kkk")
    def get_desc_from_mem(self, desc: int, pointer: int, size: int) -> None:
        """Describe a model in host memory."""
        self._fill_desc(desc, self._process.images.read(self._process.model_at(pointer, size)).om)

    def _om(self, desc: int) -> OmFile:
        om = self._process.get(self._descs, desc, AclCode.INVALID_PARAM, "description")
        if om is None:
            raise CallFailed(AclCode.INVALID_PARAM, "the description is empty: get_desc first")
        return om

    @staticmethod
    def _tensor(tensors: Sequence[TensorSpec], index: int) -> TensorSpec:
        if index >= len(tensors):
            raise CallFailed(AclCode.INVALID_PARAM, f"index {index} of {len(tensors)} tensors")
        return tensors[index]

    def _input(self, desc: int, index: int) -> TensorSpec:
        return self._tensor(self._om(desc).inputs, index)

    def _output(self, desc: int, index: int) -> TensorSpec:
        return self._tensor(self._om(desc).outputs, index)

    @acl_call("k", bare=True, failed=(0,))
    def get_num_inputs(self, desc: int) -> int:
        """Return the number of inputs."""
        return len(self._om(desc).inputs)

    @acl_call("k", bare=True, failed=(0,))
    def get_num_outputs(self, desc: int) -> int:
        """Return the number of outputs."""
        return len(self._om(desc).outputs)

    @acl_call("kk", bare=True, failed=(0,))
    def get_input_size_by_index(self, desc: int, index: int) -> int:
        """Return the bytes of an input."""
        return self._input(desc, index).size_bytes

    @acl_call("kk", bare=True, failed=(0,))
    def get_output_size_by_index(self, desc: int, index: int) -> int:
        """Return the bytes of an output; 0 where undetermined."""
        return self._output(desc, index).size_bytes

    @acl_call("kk", bare=True, failed=("",))
    def get_input_name_by_index(self, desc: int, index: int) -> str:
        """Return the name of an input."""
        return self._input(desc, index).name

    @acl_call("kk", bare=True, failed=("",))
    def get_output_name_by_index(self, desc: int, index: int) -> str:
        """Return the name of an output."""
        return self._output(desc, index).name

    @acl_call("ks", failed=(0,))
    def get_input_index_by_name(self, desc: int, name: str) -> int:
        """Return the index of an input."""
        names = [spec.name for spec in self._om(desc).inputs]
        if name not in names:
            raise CallFailed(AclCode.INVALID_PARAM, f"no input {name!r}, but {names}")
        return names.index(name)

    @acl_call("kk", bare=True, failed=(_UNDEFINED,))
    def get_input_format(self, desc: int, index: int) -> int:
        """Return the layout of an input; the twin knows ND alone."""
        self._input(desc, index)
        return TensorFormat.ND

    @acl_call("kk", bare=True, failed=(_UNDEFINED,))
    def get_output_format(self, desc: int, index: int) -> int:
        """Return the layout of an output; the twin knows ND alone."""
        self._output(desc, index)
        return TensorFormat.ND

    @acl_call("kk", bare=True, failed=(_UNDEFINED,))
    def get_input_data_type(self, desc: int, index: int) -> int:
        """Return the element type of an input."""
        return _DATA_TYPE_NUMBERS.get(self._input(desc, index).dtype, _UNDEFINED)

    @acl_call("kk", bare=True, failed=(_UNDEFINED,))
    def get_output_data_type(self, desc: int, index: int) -> int:
        """Return the element type of an output."""
        return _DATA_TYPE_NUMBERS.get(self._output(desc, index).dtype, _UNDEFINED)

    @acl_call("kk", failed=_EMPTY)
    def get_input_dims(self, desc: int, index: int) -> dict[str, Any]:
        """Return name and shape of an input."""
        return _dims(self._input(desc, index))

    @acl_call("kk", failed=_EMPTY)
    def get_input_dims_v2(self, desc: int, index: int) -> dict[str, Any]:
        """Return name and shape of an input."""
        return _dims(self._input(desc, index))

    @acl_call("kk", failed=_EMPTY)
    def get_output_dims(self, desc: int, index: int) -> dict[str, Any]:
        """Return name and shape of an output."""
        return _dims(self._output(desc, index))

    @acl_call("kk", failed=_EMPTY)
    def get_cur_output_dims(self, desc: int, index: int) -> dict[str, Any]:
        """Return name and shape of an output, at the gear that the loaded model was set to last."""
        om, spec = self._om(desc), self._output(desc, index)
        model = self._models.get(desc)
        return _dims(spec, output_shape(om, spec, model.gear if model else ()))

    @acl_call("k", failed=_EMPTY)
    def get_dynamic_batch(self, desc: int) -> dict[str, Any]:
        """Return the batch sizes that a model was compiled for."""
        batches = [choice[0] for choice in choices_of(self._om(desc), GearsKind.BATCH)]
        return {"batchCount": len(batches), "batch": batches}

    @acl_call("kk", failed=_EMPTY)
    def get_dynamic_hw(self, desc: int, _index: int) -> dict[str, Any]:
        """Return the image sizes that a model was compiled for."""
        sizes = [list(choice) for choice in choices_of(self._om(desc), GearsKind.HW)]
        return {"hwCount": len(sizes), "hw": sizes}

    @acl_call("kk", failed=(0,))
    def get_input_dynamic_gear_count(self, desc: int, _index: int) -> int:
        """Return how many combinations of dims a model was compiled for."""
        return len(choices_of(self._om(desc), GearsKind.DIMS))

    @acl_call("kkk", failed=([],))
    def get_input_dynamic_dims(self, desc: int, _index: int, count: int) -> list[dict[str, Any]]:
        """Return these combinations: the axes of all inputs, one after another."""
        om = self._om(desc)
        choices = choices_of(om, GearsKind.DIMS)
        if count < len(choices):
            raise CallFailed(AclCode.INVALID_PARAM, f"room for {count} gears of {len(choices)}")
        rows = (sum(input_shapes(om, choice), ()) for choice in choices)
        return [{"name": "", "dimCount": len(row), "dims": list(row)} for row in rows]


def _dims(spec: TensorSpec, shape: Sequence[int] | None = None) -> dict[str, Any]:
    dims = spec.shape if shape is None else shape
    return {"name": spec.name, "dimCount": len(dims), "dims": list(dims)}
