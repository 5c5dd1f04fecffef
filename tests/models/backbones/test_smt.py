"""SMT: counts of the specification, scales interleaved as in the paper, official weights find their place."""

import pytest
import torch

from densekit.models.backbones.smt import SMT, ScaleAwareModulation
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS


@pytest.mark.parametrize(("name", "millions", "giga"), [("smt_t", 11.507, 2.46), ("smt_b", 32.037, 7.97)])
def test_counts_and_costs(name, millions, giga):
    with on_meta():
        network = SMT(**VARIANTS[name].arguments).eval()
    dim = network.out_channels[-1]
    assert (parameter_count(network) + (dim + 1) * 1000) / 1e6 == pytest.approx(millions, abs=0.0006)
    cost = multiply_accumulates(network, torch.empty(1, 3, 224, 224, device="meta"))
    assert cost / 1e9 == pytest.approx(giga, abs=0.006)


def test_the_scales_are_interleaved():
    layer, x = ScaleAwareModulation(12), torch.randn(1, 5, 6, 12)
    with torch.no_grad():
        mapped, found = layer.s(x).permute(0, 3, 1, 2), layer.interleaved(x)
        for scale, conv in enumerate(layer.local):
            assert conv.kernel_size == (3 + 2 * scale,) * 2
            wanted = conv(mapped[:, 3 * scale : 3 * scale + 3])
            for g in range(3):
                torch.testing.assert_close(found[:, 4 * g + scale], wanted[:, g])


def official(widths, depths):
    """Names and shapes of the official network's tensors, without classifier."""
    layers, norms, shapes = {}, {}, {"patch_embed1.conv.0.weight": (widths[0], 3, 3, 3)}
    norms["patch_embed1.conv.1"] = widths[0]
    layers["patch_embed1.conv.3"] = (widths[0], widths[0], 2, 2)
    for i, (dim, depth) in enumerate(zip(widths, depths, strict=True), 1):
        layers |= {f"patch_embed{i}.norm": (dim,), f"norm{i}": (dim,)}
        if i > 1:
            layers[f"patch_embed{i}.proj"] = (dim, widths[i - 2], 3, 3)
        for j in range(depth):
            block, hidden = f"block{i}.{j}", (2 if i == 4 else 4) * dim
            layers |= {f"{block}.norm1": (dim,), f"{block}.norm2": (dim,), f"{block}.attn.proj": (dim, dim)}
            layers |= {f"{block}.mlp.fc1": (hidden, dim), f"{block}.mlp.fc2": (dim, hidden)}
            layers[f"{block}.mlp.dwconv.dwconv"] = (hidden, 1, 3, 3)
            if i == 4 or (i == 3 and j % 2):
                layers |= {f"{block}.attn.q": (dim, dim), f"{block}.attn.kv": (2 * dim, dim)}
                layers[f"{block}.attn.local_conv"] = (dim, 1, 3, 3)
                continue
            layers |= {f"{block}.attn.v": (dim, dim), f"{block}.attn.s": (dim, dim)}
            layers |= {f"{block}.attn.local_conv_{k + 1}": (dim // 4, 1, 3 + 2 * k, 3 + 2 * k) for k in range(4)}
            layers |= {f"{block}.attn.proj0": (2 * dim, 4, 1, 1), f"{block}.attn.proj1": (dim, 2 * dim, 1, 1)}
            norms[f"{block}.attn.bn"] = 2 * dim
    for name, dim in norms.items():
        layers[name] = (dim,)
        shapes |= {f"{name}.running_mean": (dim,), f"{name}.running_var": (dim,), f"{name}.num_batches_tracked": ()}
    shapes |= {f"{key}.weight": shape for key, shape in layers.items()}
    return shapes | {f"{key}.bias": shape[:1] for key, shape in layers.items()}


def test_every_official_tensor_finds_its_place():
    arguments = VARIANTS["smt_t"].arguments
    weights = {key: torch.empty(shape, device="meta") for key, shape in official(**arguments).items()}
    with on_meta():
        own = SMT(**arguments).state_dict()
    renamed = SMT.rename_official(weights)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in own.items()}
    assert SMT.rename_official(own) == dict(own)
