"""LSNet: weights per place, biases of any size, a merged network that does the same, official weights."""

import torch
from torch.nn import functional as F

from densekit.models.backbones.lsnet import BiasedAttention, LSNet, small_kernel_aggregation
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS

SMALL = {"widths": (16, 32, 48, 64), "depths": (1, 2, 3, 2), "heads": 2}


def test_small_kernels_are_shared_by_channels_far_apart():
    x, weights = torch.randn(1, 16, 3, 4), torch.randn(1, 18, 3, 4)
    padded, wanted = F.pad(x, (1, 1, 1, 1)), torch.zeros_like(x)
    for c in range(16):
        for row in range(3):
            for col in range(4):
                kernel = weights[0, 9 * (c % 2) : 9 * (c % 2) + 9, row, col].view(3, 3)
                wanted[0, c, row, col] = (kernel * padded[0, c, row : row + 3, col : col + 3]).sum()
    torch.testing.assert_close(small_kernel_aggregation(x, weights), wanted)


def test_biases_depend_on_the_distance_and_stop_at_the_farthest_known():
    layer = BiasedAttention(32, 2, 3)
    with torch.no_grad():
        layer.attention_biases.copy_(torch.arange(18.0).view(2, 9))
    bias = layer.bias(2, 5)
    assert bias.shape == (2, 10, 10)
    for one in range(10):
        for other in range(10):
            down, right = abs(one // 5 - other // 5), min(abs(one % 5 - other % 5), 2)
            assert bias[0, one, other] == 3 * down + right and bias[1, one, other] == 9 + 3 * down + right


def test_the_merged_network_gives_the_same_maps():
    torch.manual_seed(0)
    network = LSNet(**SMALL).eval().double()
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if tensor.is_floating_point():
                noise = torch.rand_like(tensor)
                tensor.add_(0.3 * noise if name.endswith("var") else 0.3 * (noise - 0.5))
        image = torch.randn(1, 3, 64, 96, dtype=torch.float64)
        wanted = network(image)
        network.merge()
        network.merge()  # a second time changes nothing
        built = LSNet(**SMALL, deploy=True).eval().double()
        built.load_state_dict(network.state_dict())
        for a, b, c in zip(wanted, network(image), built(image), strict=True):
            assert a.std() > 0.1
            torch.testing.assert_close(a, b, rtol=0, atol=1e-10)
            assert torch.equal(b, c)


def official(widths, depths):
    """Names and shapes of the official network's tensors, without classifier."""
    first = widths[0]
    pairs = {f"patch_embed.{k}": (b, a, 3) for k, a, b in ((0, 3, first // 4), (2, first // 4, first // 2))}
    pairs["patch_embed.4"] = (first, first // 2, 3)
    shapes, layers, norms = {}, {}, {}
    for i, (dim, depth) in enumerate(zip(widths, depths, strict=True)):
        if i:
            pairs |= {f"blocks{i + 1}.0": (widths[i - 1], 1, 3), f"blocks{i + 1}.1": (dim, widths[i - 1], 1)}
        for j in range(depth):
            block, half = f"blocks{i + 1}.{j + 2 if i else j}", dim // 2
            mixer = f"{block}.mixer"
            pairs |= {f"{block}.ffn.m.pw1": (2 * dim, dim, 1), f"{block}.ffn.m.pw2": (dim, 2 * dim, 1)}
            if j % 2 == 0:
                pairs |= {f"{mixer}.conv": (dim, 1, 3), f"{mixer}.conv1": (dim, 1, 1)}
                layers |= {f"{block}.se.fc1": (dim // 4, dim, 1, 1), f"{block}.se.fc2": (dim, dim // 4, 1, 1)}
            elif i == 3:
                pairs |= {f"{mixer}.m.qkv": (dim + 128, dim, 1), f"{mixer}.m.dw": (64, 1, 3)}
                pairs[f"{mixer}.m.proj.1"] = (dim, dim, 1)
                shapes |= {f"{mixer}.m.attention_biases": (4, 16), f"{mixer}.m.attention_bias_idxs": (16, 16)}
            else:
                pairs |= {f"{mixer}.lkp.cv1": (half, dim, 1), f"{mixer}.lkp.cv2": (half, 1, 7)}
                pairs[f"{mixer}.lkp.cv3"] = (half, half, 1)
                layers |= {f"{mixer}.lkp.cv4": (9 * dim // 8, half, 1, 1), f"{mixer}.lkp.norm": (9 * dim // 8,)}
                norms[f"{mixer}.bn"] = dim
    for name, (dim, before, side) in pairs.items():
        shapes[f"{name}.c.weight"], norms[f"{name}.bn"] = (dim, before, side, side), dim
    for name, dim in norms.items():
        layers[name] = (dim,)
        shapes |= {f"{name}.running_mean": (dim,), f"{name}.running_var": (dim,), f"{name}.num_batches_tracked": ()}
    shapes |= {f"{key}.weight": shape for key, shape in layers.items()}
    return shapes | {f"{key}.bias": shape[:1] for key, shape in layers.items()}


def test_every_official_tensor_finds_its_place():
    arguments = VARIANTS["lsnet_t"].arguments
    weights = {key: torch.empty(shape, device="meta") for key, shape in official(**arguments).items()}
    with on_meta():
        own = LSNet(**arguments).state_dict()
    renamed = LSNet.rename_official(weights)
    assert {key: value.shape for key, value in renamed.items()} == {key: value.shape for key, value in own.items()}
    assert LSNet.rename_official(own) == dict(own)
