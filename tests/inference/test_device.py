"""Which device predicts, and what is said of one that there is not."""

import pytest
import torch

from densekit.errors import ConfigError
from densekit.inference.device import choose_device


def test_the_cpu_is_always_there():
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "0", "xpu"])
def test_who_asks_for_a_gpu_is_not_sent_to_the_cpu(name):
    with pytest.raises(
        ConfigError, match="expected auto, cpu, cuda, cuda:N or mps; a GPU of NVIDIA or AMD is 'cuda'"
    ) as e:
        choose_device(name)
    assert "did you mean" not in str(e.value)
