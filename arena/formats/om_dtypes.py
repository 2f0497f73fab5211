"""Element types of .om files: the two numberings in use, and numpy's names for them.

The compiler's graph (ge.proto) and the run time (ge::DataType, aclDataType) count differently:
float32 is 1 in the one and 0 in the other.

References
----------
.. [1] hicann/ge, graph_metadef/proto/ge_ir.proto (DataType).
.. [2] CANN documentation, aclDataType.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

__all__ = ["UNKNOWN", "ElementType", "element_of_acl", "element_of_proto", "numbers_of"]


@dataclass(frozen=True, slots=True)
class ElementType:
    """An element type.

    Attributes
    ----------
    name : str
        numpy's name, or that of the numpy extension types (``bfloat16``, ``int4``); ``bytes`` where
        elements have no fixed size.
    bits : int
        Per element; 0 where there is no fixed size.
    """

    name: str
    bits: int

    def tensor_bytes(self, shape: Sequence[int]) -> int:
        """Return the bytes of a dense tensor; 0 where the shape or the type leaves it open.

        Examples
        --------
        >>> ElementType("float32", 32).tensor_bytes((1, 42, 42, 1))
        7056
        >>> ElementType("int4", 4).tensor_bytes((3,)), UNKNOWN.tensor_bytes((3,))
        (2, 0)
        """
        elements = 1
        for length in shape:
            elements *= max(length, 0)
        return -(-elements * self.bits // 8)


UNKNOWN: Final = ElementType("bytes", 0)

# name, bits, ge.proto number, ge::DataType number
_ROWS: Final = (
    ("float32", 32, 1, 0),
    ("float16", 16, 2, 1),
    ("int8", 8, 3, 2),
    ("uint8", 8, 4, 4),
    ("int16", 16, 5, 6),
    ("uint16", 16, 6, 7),
    ("int32", 32, 7, 3),
    ("int64", 64, 8, 9),
    ("uint32", 32, 9, 8),
    ("uint64", 64, 10, 10),
    ("bool", 8, 11, 12),
    ("float64", 64, 12, 11),
    ("bytes", 0, 13, 13),  # string
    ("int8", 8, 14, 14),  # half of a dual output
    ("uint8", 8, 15, 15),
    ("complex64", 64, 16, 16),
    ("complex128", 128, 17, 17),
    ("int8", 8, 18, 18),  # quantised types: the scale is elsewhere, the bytes are these
    ("int16", 16, 19, 19),
    ("int32", 32, 20, 20),
    ("uint8", 8, 21, 21),
    ("uint16", 16, 22, 22),
    ("bytes", 0, 23, 23),  # resource
    ("bytes", 0, 24, 24),  # reference to a string
    ("bytes", 0, 25, 25),  # dual output
    ("bytes", 0, 26, 26),  # variant
    ("bfloat16", 16, 27, 27),
    ("int4", 4, 28, 29),
    ("uint1", 1, 29, 30),
    ("int2", 2, 30, 31),
    ("uint2", 2, 31, 32),
    ("complex32", 32, 32, 33),
    ("hifloat8", 8, 33, 34),
    ("float8_e5m2", 8, 34, 35),
    ("float8_e4m3fn", 8, 35, 36),
    ("float8_e8m0fnu", 8, 36, 37),
    ("float6_e3m2fn", 6, 37, 38),
    ("float6_e2m3fn", 6, 38, 39),
    ("float4_e2m1fn", 4, 39, 40),
    ("float4_e1m2", 4, 40, 41),
    ("hifloat4", 4, 41, 42),
)
_BY_PROTO: Final = {proto: ElementType(name, bits) for name, bits, proto, _ in _ROWS}
_BY_ACL: Final = {acl: ElementType(name, bits) for name, bits, _, acl in _ROWS}
_NUMBERS: Final = {name: (proto, acl) for name, _, proto, acl in reversed(_ROWS)}


def element_of_proto(number: int) -> ElementType:
    """Return the type that the compiler's graph calls `number`; `UNKNOWN` for others.

    Examples
    --------
    >>> element_of_proto(1).name, element_of_proto(0).name
    ('float32', 'bytes')
    """
    return _BY_PROTO.get(number, UNKNOWN)


def element_of_acl(number: int) -> ElementType:
    """Return the type that the run time calls `number`; `UNKNOWN` for others.

    Examples
    --------
    >>> element_of_acl(0).name, element_of_acl(28).name
    ('float32', 'bytes')
    """
    return _BY_ACL.get(number, UNKNOWN)


def numbers_of(name: str) -> tuple[int, int] | None:
    """Return (ge.proto number, run-time number) of numpy's name; None where there is none.

    Examples
    --------
    >>> numbers_of("int8"), numbers_of("datetime64")
    ((3, 2), None)
    """
    return _NUMBERS.get(name)
