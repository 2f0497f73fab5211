from hypothesis import given
from hypothesis import strategies as st

from planner.masks import mask_indices, mask_of


@given(st.sets(st.integers(0, 300)))
def test_a_mask_holds_exactly_its_indices(indices: set[int]) -> None:
    assert list(mask_indices(mask_of(indices))) == sorted(indices)


def test_the_empty_set_and_repeats() -> None:
    assert mask_of([]) == 0
    assert mask_of([2, 2]) == 4
    assert list(mask_indices(0)) == []
