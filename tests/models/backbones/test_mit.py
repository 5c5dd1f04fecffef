"""MiT: counts and costs of the publication, and the weights of NVlabs and of MMSegmentation."""

import pytest
import torch
from mmengine.registry import DefaultScope

from densekit.models.backbones.mit import MixVisionTransformer
from densekit.models.cost import multiply_accumulates, parameter_count
from densekit.models.on_meta import on_meta
from densekit.models.variants import VARIANTS

SMALL = {"widths": (16, 32, 40, 64), "depths": (1, 1, 2, 1), "heads": (1, 2, 5, 8)}
PUBLISHED = {  # parameters, multiply-accumulates at 224 and 512
    "mit_b0": (3.319e6, 0.45e9, 3.20e9),
    "mit_b1": (13.151e6, 1.68e9, 10.43e9),
    "mit_b2": (24.196e6, 3.27e9, 20.24e9),
    "mit_b3": (44.072e6, 6.14e9, 36.86e9),
    "mit_b4": (60.843e6, 8.92e9, 53.47e9),
    "mit_b5": (81.443e6, 11.72e9, 69.41e9),
}


DEEP = pytest.mark.slow(reason="dozens of blocks are counted one by one")


@pytest.mark.parametrize("name", [pytest.param(name, marks=DEEP if name > "mit_b2" else ()) for name in PUBLISHED])
def test_counts_and_costs(name):
    with on_meta():
        encoder = MixVisionTransformer(**VARIANTS[name].arguments).eval()
    costs = [multiply_accumulates(encoder, torch.empty(1, 3, side, side, device="meta")) for side in (224, 512)]
    assert parameter_count(encoder) == pytest.approx(PUBLISHED[name][0], abs=500)
    assert costs == pytest.approx(PUBLISHED[name][1:], abs=0.0051e9)


def of_nvlabs(widths, depths, reductions=(8, 4, 2, 1)):
    """Names and shapes of NVlabs' encoder, whatever its classifier."""
    shapes, before = {}, 3
    for s, (dim, depth, r) in enumerate(zip(widths, depths, reductions, strict=True), 1):
        side = 7 if s == 1 else 3
        layers = {f"patch_embed{s}.proj": (dim, before, side, side), f"patch_embed{s}.norm": (dim,), f"norm{s}": (dim,)}
        for b in range(depth):
            inner = {"norm1": (dim,), "norm2": (dim,), "attn.q": (dim, dim), "attn.kv": (2 * dim, dim)}
            inner |= {"attn.sr": (dim, dim, r, r), "attn.norm": (dim,)} if r > 1 else {}
            inner |= {"attn.proj": (dim, dim), "mlp.fc1": (4 * dim, dim), "mlp.fc2": (dim, 4 * dim)}
            inner |= {"mlp.dwconv.dwconv": (4 * dim, 1, 3, 3)}
            layers |= {f"block{s}.{b}.{key}": shape for key, shape in inner.items()}
        shapes |= {f"{key}.weight": shape for key, shape in layers.items()}
        shapes |= {f"{key}.bias": shape[:1] for key, shape in layers.items()}
        before = dim
    return shapes


def test_every_tensor_of_nvlabs_finds_its_place():
    variant = VARIANTS["mit_b2"]
    official = {key: torch.empty(shape, device="meta") for key, shape in of_nvlabs(**variant.arguments).items()}
    assert len(official) == 332
    with on_meta():
        own = MixVisionTransformer(**variant.arguments).state_dict()
    renamed = MixVisionTransformer.rename_official(official | {"head.weight": torch.empty(1000, 512)})
    assert {key: value.shape for key, value in renamed.items() if key != "head.weight"} == {
        key: value.shape for key, value in own.items()
    }
    assert MixVisionTransformer.rename_official(own) == dict(own)


def test_weights_of_mmsegmentation_give_its_features():
    from mmseg.models.backbones import MixVisionTransformer as Theirs

    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope("mmseg"):
        theirs = Theirs(embed_dims=8, num_layers=SMALL["depths"], num_heads=SMALL["heads"], mlp_ratio=4, qkv_bias=True)
    theirs.eval()
    ours = MixVisionTransformer(
        widths=(8, 16, 40, 64), depths=SMALL["depths"], heads=SMALL["heads"], inner_eps=1e-6
    ).eval()
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        ours.load_state_dict(MixVisionTransformer.rename_official(theirs.state_dict()))
        image = torch.randn(2, 3, 70, 96)
        for mine, other in zip(ours(image), theirs(image), strict=True):
            torch.testing.assert_close(mine, other, rtol=0, atol=1e-5)


def test_norms_are_those_nvlabs_trained_with():
    eps = {name: m.eps for name, m in MixVisionTransformer(**SMALL).named_modules() if hasattr(m, "eps")}
    inner = {name for name in eps if name.startswith("downsamplings") or ".reduce." in name}
    assert {eps[name] for name in inner} == {1e-5} and {eps[name] for name in set(eps) - inner} == {1e-6}


def test_an_image_smaller_than_the_coarsest_stride():
    with torch.no_grad():
        maps = MixVisionTransformer(**SMALL).eval()(torch.randn(1, 3, 9, 20))
    assert [tuple(m.shape[2:]) for m in maps] == [(3, 5), (2, 3), (1, 2), (1, 1)]
