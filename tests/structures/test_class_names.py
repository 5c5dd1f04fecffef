"""Spellings of one class name."""

import pytest

from densekit.structures.class_names import by_name, respelt, spelling


@pytest.mark.parametrize("name", ["red cell", "Red Cell", "RED_CELL", "red-cell", "RedCell", " red  cell "])
def test_spellings_of_one_name(name):
    assert by_name(["Platelet", "Red-Cell"], [name]) == {name: "Red-Cell"}


@pytest.mark.parametrize(
    "one, other",
    [("grade-", "grade"), ("grade+", "grade-"), ("1-2", "12"), ("cell", "cells"), ("a", "b"), ("type 1", "type 2")],
)
def test_names_that_stay_apart(one, other):
    assert spelling(one) != spelling(other)
    assert by_name([one], [other]) == {}


def test_what_is_not_the_only_one_of_its_spelling_is_not_matched():
    assert by_name(["Car"], ["car", "CAR"]) == {}
    assert by_name(["Car", "CAR"], ["car"]) == {}
    assert by_name(["Car"], ["Car", "car"]) == {"Car": "Car"}  # its own name is taken
    assert by_name(["Car", "CAR"], ["CAR", "car"]) == {"CAR": "CAR", "car": "Car"}


def test_umlauts_composed_or_not_are_one():
    assert by_name(["Gefäß"], ["Gefa\u0308ß"]) == {"Gefa\u0308ß": "Gefäß"}


def test_only_what_differs_is_said():
    assert respelt({"Car": "Car"}) == ""
    assert respelt({"Car": "Car", "dog": "Dog"}) == "class names are spelt differently, taken as one: 'dog' is 'Dog'"
