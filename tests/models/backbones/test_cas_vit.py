"""CAS-ViT: published counts with both classifiers, official weights find their place."""

import pytest
import torch

from densekit.models.backbones.cas_vit import CASViT, ContextGate
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS

PUBLISHED = {"xs": (3.201, 0.55), "s": (5.764, 0.91), "m": (12.422, 1.86), "t": (21.763, 3.56)}


@pytest.mark.parametrize("size", PUBLISHED)
def test_counts_and_costs(size):
    millions, giga = PUBLISHED[size]
    with on_meta():
        network = CASViT(**VARIANTS[f"cas_vit_{size}"].arguments, out_norm=None).eval()
    dim = network.out_channels[-1]
    assert (parameter_count(network) + 2 * dim + 2 * (dim + 1) * 1000) / 1e6 == pytest.approx(millions, abs=0.0006)
    cost = multiply_accumulates(network, torch.empty(1, 3, 224, 224, device="meta"))
    assert cost / 1e9 == pytest.approx(giga, abs=0.006)


def test_a_gate_is_one_weight_per_place_then_one_per_channel():
    gate, x = ContextGate(4).eval(), torch.randn(2, 4, 5, 6)
    with torch.no_grad():
        depthwise, norm, _, to_places, _ = gate.spatial
        gated = x * torch.sigmoid(to_places(torch.relu(norm(depthwise(x)))))
        weights = torch.sigmoid(gated.mean((2, 3)) @ gate.channel[1].weight[:, :, 0, 0].T)
        torch.testing.assert_close(gate(x), gated * weights[:, :, None, None])


def official(widths, depths):
    """Names and shapes of the official dense network's tensors."""
    half = widths[0] // 2
    layers = {"patch_embed.0": (half, 3, 3, 3), "patch_embed.3": (widths[0], half, 3, 3)}
    norms, shapes = {"patch_embed.1": half, "patch_embed.4": widths[0]}, {}
    for i, (dim, depth) in enumerate(zip(widths, depths, strict=True)):
        norms[f"norm{2 * i}"] = dim
        if i:
            layers[f"network.{2 * i - 1}.proj"] = (dim, widths[i - 1], 3, 3)
            norms[f"network.{2 * i - 1}.norm"] = dim
        for j in range(depth):
            block = f"network.{2 * i}.{j}"
            local, mixer = f"{block}.local_perception.network", f"{block}.attn"
            layers |= {f"{local}.0": (dim, dim, 1, 1), f"{local}.2": (dim, 1, 3, 3), f"{local}.4": (dim, dim, 1, 1)}
            layers |= {f"{mixer}.dwc": (dim, 1, 3, 3), f"{mixer}.proj": (dim, 1, 3, 3)}
            layers |= {f"{block}.mlp.fc1": (4 * dim, dim, 1, 1), f"{block}.mlp.fc2": (dim, 4 * dim, 1, 1)}
            norms |= {f"{local}.1": dim, f"{block}.norm1": dim, f"{block}.norm2": dim}
            shapes[f"{mixer}.qkv.weight"] = (3 * dim, dim, 1, 1)
            for gate in (f"{mixer}.oper_q", f"{mixer}.oper_k"):
                layers[f"{gate}.0.block.0"], norms[f"{gate}.0.block.1"] = (dim, 1, 3, 3), dim
                shapes[f"{gate}.0.block.3.weight"] = (1, dim, 1, 1)
                shapes[f"{gate}.1.block.1.weight"] = (dim, dim, 1, 1)
    for name, dim in norms.items():
        layers[name] = (dim,)
        shapes |= {f"{name}.running_mean": (dim,), f"{name}.running_var": (dim,), f"{name}.num_batches_tracked": ()}
    shapes |= {f"{key}.weight": shape for key, shape in layers.items()}
    return shapes | {f"{key}.bias": shape[:1] for key, shape in layers.items()}


def test_every_official_tensor_finds_its_place():
    arguments = VARIANTS["cas_vit_xs"].arguments
    weights = {key: torch.empty(shape, device="meta") for key, shape in official(**arguments).items()}
    with on_meta():
        own = CASViT(**arguments).state_dict()
    renamed = CASViT.rename_official(weights)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in own.items()}
    assert CASViT.rename_official(own) == dict(own)
