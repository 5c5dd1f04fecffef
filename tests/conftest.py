"""What holds for every test."""

# ruff: noqa: I001  the order of these lines matters
import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as densekit.cli does, and for its reason; before torch is loaded

import densekit  # noqa: F401  before mmengine, mmcv and mmdet, as in every program that uses its operators

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def default_scope_of_its_own():
    """MMEngine keeps the scope of the last Runner for the whole process; no test may depend on another's."""
    yield
    DefaultScope._instance_dict.clear()
