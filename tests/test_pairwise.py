"""The selection of combinations: it holds every pair, nothing that is not asked for, and little more than it must."""

from itertools import combinations, product

from hypothesis import given
from hypothesis import strategies as st
from support.pairwise import covering

values = st.lists(st.lists(st.integers(), min_size=1, max_size=4, unique=True), max_size=4)


@given(values)
def test_every_pair_of_values_of_two_parameters_occurs(values: list[list[int]]) -> None:
    rows = covering(values)
    for first, second in combinations(range(len(values)), 2):
        assert {(row[first], row[second]) for row in rows} == set(product(values[first], values[second]))


@given(values)
def test_rows_are_of_the_product_and_of_use(values: list[list[int]]) -> None:
    rows = covering(values)
    assert len(set(rows)) == len(rows)
    assert set(rows) <= set(product(*values))
    assert rows == covering(values)


def test_one_parameter_has_all_its_values_and_two_have_all_combinations() -> None:
    assert covering(["ab"]) == [("a",), ("b",)]
    assert covering(["ab", "cd"]) == [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]


def test_more_parameters_of_few_values_need_few_rows() -> None:
    assert len(covering(["ab"] * 10)) <= 10  # of 1024; no fewer than 6 will do
