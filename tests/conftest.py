"""What holds for every test."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as densekit.cli does, and for its reason; torch is not loaded yet

import pytest
from mmengine.registry import DefaultScope

import densekit  # noqa: F401  before mmcv and mmdet, as in every program that uses its operators


@pytest.fixture(autouse=True)
def default_scope_of_its_own():
    """MMEngine keeps the scope of the last Runner or detector for the whole process; no test may rely on another's."""
    yield
    DefaultScope._instance_dict.clear()
