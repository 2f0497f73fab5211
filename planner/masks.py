"""Sets of small indices as Python integers: bit i is set iff i is a member. Nothing else."""

from collections.abc import Iterable, Iterator

__all__ = ["mask_indices", "mask_of"]


def mask_of(indices: Iterable[int]) -> int:
    """Return the mask of `indices` (each >= 0, in any order, repeats allowed).

    Examples
    --------
    >>> mask_of([3, 0, 1]) == 0b1011
    True
    """
    mask = 0
    for index in indices:
        mask |= 1 << index
    return mask


def mask_indices(mask: int) -> Iterator[int]:
    """Yield the positions of the set bits of `mask` (>= 0), ascending.

    Examples
    --------
    >>> list(mask_indices(0b1011))
    [0, 1, 3]
    """
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
