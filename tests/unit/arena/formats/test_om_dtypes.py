import pytest

from arena.formats.om_dtypes import UNKNOWN, element_of_acl, element_of_proto, numbers_of


@pytest.mark.parametrize(
    ("proto", "acl", "name", "bits"),
    [
        (1, 0, "float32", 32),
        (2, 1, "float16", 16),
        (3, 2, "int8", 8),
        (7, 3, "int32", 32),
        (4, 4, "uint8", 8),
        (5, 6, "int16", 16),
        (9, 8, "uint32", 32),
        (8, 9, "int64", 64),
        (12, 11, "float64", 64),
        (11, 12, "bool", 8),
        (27, 27, "bfloat16", 16),
        (28, 29, "int4", 4),
        (32, 33, "complex32", 32),
        (34, 35, "float8_e5m2", 8),
    ],
)
def test_both_numberings(proto: int, acl: int, name: str, bits: int) -> None:
    assert element_of_proto(proto) == element_of_acl(acl)
    assert (element_of_proto(proto).name, element_of_proto(proto).bits) == (name, bits)
    assert numbers_of(name) == (proto, acl)


@pytest.mark.parametrize("number", [0, 43, 99, -1, 2**63])
def test_unknown_numbers(number: int) -> None:
    assert element_of_proto(number) == UNKNOWN
    assert number == 0 or element_of_acl(number) == UNKNOWN


def test_numpy_knows_the_common_names_and_their_sizes() -> None:
    numpy = pytest.importorskip("numpy")
    for number in range(1, 13):
        element = element_of_proto(number)
        assert numpy.dtype(element.name).itemsize * 8 == element.bits
