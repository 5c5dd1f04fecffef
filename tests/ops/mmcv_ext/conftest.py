"""densekit comes before mmcv.ops, mmdet and mmseg, as in every program that uses its operators."""

import pytest
import torch

import densekit  # noqa: F401

torch.set_num_threads(1)


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request) -> str:
    """Where an operator is tried."""
    return request.param
