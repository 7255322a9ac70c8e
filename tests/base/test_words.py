"""Numbers as sentences have them."""

import pytest

from bertprune.base.words import ranges


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ([], ""),
        ([4], "4"),
        ([0, 1], "0, 1"),
        ([3, 2, 1], "1 to 3"),
        ([0, 2, 3, 4, 5, 9, 10], "0, 2 to 5, 9, 10"),
    ],
)
def test_numbers_that_follow_each_other_are_a_range(numbers: list[int], words: str) -> None:
    assert ranges(numbers) == words
