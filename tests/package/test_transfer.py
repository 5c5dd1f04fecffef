"""Starting a detector from another's weights: the rows of a class go to the class of its name, in every head."""

from functools import cache

import numpy as np
import pytest
import torch
from torch import nn

import densekit  # noqa: F401  before mmdet
from densekit.errors import CheckpointError
from densekit.package import write_checkpoint
from densekit.package.transfer import match_classes, read_named_weights, start_from, transfer_weights

torch.set_num_threads(1)
OLD = ("dog", "cat", "bird", "cow")
NEW = ("fox", "Cat", "dog")
SHARED = {1: 1, 2: 0}  # label in NEW -> label in OLD
BACKBONE = {"type": "mmdet.ResNet", "depth": 18, "base_channels": 8, "init_cfg": None}
SMALL_NECK = {"type": "FPN", "out_channels": 32}
SMALL_REGIONS = {"bbox_head": {"fc_out_channels": 16}}
SMALL_MASKS = {**SMALL_REGIONS, "mask_head": {"conv_out_channels": 16}}
DENSE = ("RetinaHead", "FreeAnchorRetinaHead", "FSAFHead", "ATSSHead", "GFLHead", "FCOSHead")
MODELS = {
    **{name: {"neck": SMALL_NECK, "head": {"type": name, "feat_channels": 32}} for name in DENSE},
    **{f"SEPC{name}": {"neck": [SMALL_NECK, "SEPC"], "head": f"SEPC{name}"} for name in DENSE},
    "StandardRoIHead": {"neck": SMALL_NECK, "head": {"type": "StandardRoIHead", **SMALL_MASKS}},
    "StandardRoIHead, agnostic": {
        "neck": SMALL_NECK,
        "head": {
            "type": "StandardRoIHead",
            "bbox_head": {"fc_out_channels": 16, "reg_class_agnostic": True},
            "mask_head": {"conv_out_channels": 16, "class_agnostic": True},
        },
    },
    "CascadeRoIHead": {"neck": SMALL_NECK, "head": {"type": "CascadeRoIHead", **SMALL_MASKS}},
    "Swin": {  # its constructor asks a tensor for its numbers
        "backbone": {"type": "SwinTransformer", "embed_dims": 8, "depths": (1, 1, 1, 1), "num_heads": (1, 2, 4, 8)},
        "neck": SMALL_NECK,
        "head": {"type": "RetinaHead", "feat_channels": 32},
    },
    "PANet": {
        "neck": {"type": "PANetNeck", "out_channels": 32},
        "head": {
            "type": "StandardRoIHead",
            "bbox_head": {"type": "PANetShared2FCBBoxHead", "fc_out_channels": 16},
            "mask_head": {"type": "PANetMaskHead", "conv_out_channels": 16},
        },
    },
}
SSD = {
    "type": "mmdet.SingleStageDetector",
    "backbone": {**BACKBONE, "out_indices": (1, 2, 3)},
    "bbox_head": {
        "type": "mmdet.SSDHead",
        "in_channels": (16, 32, 64),
        "num_classes": 80,
        "anchor_generator": {
            "type": "SSDAnchorGenerator",
            "scale_major": False,
            "input_size": 300,
            "basesize_ratio_range": (0.15, 0.9),
            "strides": [8, 16, 32],
            "ratios": [[2], [2, 3], [2]],
        },
    },
    "train_cfg": {},
}


@cache
def assembled(name):
    from densekit.models.assemble import model_config

    return model_config(SSD if name == "SSDHead" else {"backbone": BACKBONE, **MODELS[name]}, 80)


def config_of(name, classes):
    from densekit.models.assemble import model_config

    return model_config(assembled(name), len(classes))


def built(config, seed):
    """A detector with random values in every parameter, biases too."""
    from mmdet.registry import MODELS as registry
    from mmengine.registry import DefaultScope

    with DefaultScope.overwrite_default_scope("mmdet"):
        detector = registry.build(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.05)
    return detector.double().eval()


def fresh_and_old(name, new=NEW, old=OLD):
    config = config_of(name, new)
    return config, built(config, seed=1), built(config_of(name, old), seed=2)


@torch.no_grad()
def logits_of(detector, classes):
    """What a head says about each class: ``{layer: (..., classes)}``, the background's as ``"<layer>/background"``."""
    generator = torch.Generator().manual_seed(3)

    def noise(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    found = {}
    if not hasattr(detector, "roi_head"):
        channels = [16, 32, 64] if "SSD" in type(detector.bbox_head).__name__ else [32] * 5
        maps = tuple(noise(2, c, side, side) for c, side in zip(channels, (12, 8, 6, 4, 3), strict=False))
        if getattr(detector.bbox_head, "pairs", False):
            maps = tuple(zip(maps, [noise(*m.shape) for m in maps], strict=True))
        for level, scores in enumerate(detector.bbox_head(maps)[0]):
            width = detector.bbox_head.cls_out_channels
            found[f"level {level}"] = scores.permute(0, 2, 3, 1).reshape(2, -1, width)  # MMDetection's own order
    else:
        heads = detector.roi_head
        for stage, head in enumerate(
            heads.bbox_head if isinstance(heads.bbox_head, nn.ModuleList) else [heads.bbox_head]
        ):
            regions = noise(5, 4, 32, 7, 7) if getattr(head, "all_levels", False) else noise(5, 32, 7, 7)
            scores, boxes = head(regions)
            found[f"scores {stage}"] = scores
            if head.reg_class_agnostic:
                found[f"boxes {stage}"] = boxes[:, :, None].expand(-1, -1, classes)
            else:
                found[f"boxes {stage}"] = boxes.reshape(5, classes, 4).transpose(1, 2)
        for stage, head in enumerate(
            heads.mask_head if isinstance(heads.mask_head, nn.ModuleList) else [heads.mask_head]
        ):
            regions = noise(3, 4, 32, 14, 14) if getattr(head, "all_levels", False) else noise(3, 32, 14, 14)
            masks = head(regions).movedim(1, -1)
            found[f"masks {stage}"] = masks.expand(*masks.shape[:-1], classes)
    for layer, values in list(found.items()):
        if values.shape[-1] == classes + 1:
            found[layer], found[f"{layer}/background"] = values[..., :classes], values[..., classes:]
    return found


@pytest.mark.parametrize("name", [*MODELS, "SSDHead"])
def test_a_class_is_seen_as_by_the_old_model_in_every_head(name):
    config, model, old = fresh_and_old(name)
    report = transfer_weights(
        model, old.state_dict(), config=config, own_classes=NEW, other_classes=OLD, path="old.pth"
    )
    theirs, ours = logits_of(old, len(OLD)), logits_of(model, len(NEW))
    assert theirs.keys() == ours.keys() and len(ours) > 0
    for layer in ours:
        if layer.endswith("background"):
            torch.testing.assert_close(ours[layer], theirs[layer], rtol=1e-12, atol=1e-12)
            continue
        for own, other in SHARED.items():
            torch.testing.assert_close(ours[layer][..., own], theirs[layer][..., other], rtol=1e-12, atol=1e-12)
        if "agnostic" not in name:
            strange = layer.startswith("boxes") and name == "CascadeRoIHead"  # one box for all classes
            assert strange or not any(torch.allclose(ours[layer][..., 0], theirs[layer][..., c]) for c in range(4))
    assert report.kept == ("Cat", "dog") and report.new == ("fox",) and set(report.dropped) == {"bird", "cow"}
    assert report.rows and not report.fresh and not report.unused


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("RetinaHead", {"bbox_head.retina_cls": (9, 3)}),
        ("SSDHead", {"bbox_head.cls_convs.0.0": (4, 4), "bbox_head.cls_convs.1.0": (6, 4)}),
    ],
)
def test_each_row_of_a_dense_head_is_of_its_anchor_and_its_class(name, layers):
    config, model, old = fresh_and_old(name)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    for key, value in old.state_dict().items():
        if key.endswith("bias") and any(key.startswith(layer) for layer in layers):
            value.copy_(torch.arange(len(value)))
    transfer_weights(model, old.state_dict(), config=config, own_classes=NEW, other_classes=OLD, path="old.pth")
    for layer, (anchors, width) in layers.items():
        other_width = width - len(NEW) + len(OLD)
        found = model.state_dict()[f"{layer}.bias"].reshape(anchors, width)
        for own, other in {**SHARED, **({3: 4} if width == 4 else {})}.items():
            assert found[:, own].tolist() == [a * other_width + other for a in range(anchors)]
        assert torch.equal(found[:, 0], before[f"{layer}.bias"].reshape(anchors, width)[:, 0])


def test_class_specific_boxes_go_four_at_a_time():
    config, model, old = fresh_and_old("StandardRoIHead")
    before = model.roi_head.bbox_head.fc_reg.bias.clone()
    with torch.no_grad():
        old.roi_head.bbox_head.fc_reg.bias.copy_(torch.arange(16))
    transfer_weights(model, old.state_dict(), config=config, own_classes=NEW, other_classes=OLD, path="old.pth")
    found = model.roi_head.bbox_head.fc_reg.bias.reshape(3, 4)
    assert found[1].tolist() == [4, 5, 6, 7] and found[2].tolist() == [0, 1, 2, 3]
    assert torch.equal(found[0], before[:4])


def test_the_same_classes_in_the_same_order_are_loaded_whole():
    config, model, old = fresh_and_old("RetinaHead", new=OLD)
    report = transfer_weights(
        model, old.state_dict(), config=config, own_classes=OLD, other_classes=OLD, path="old.pth"
    )
    assert all(torch.equal(value, old.state_dict()[key]) for key, value in model.state_dict().items())
    assert not report.rows and not report.fresh
    assert report.lines()[1:] == ["classes: all 4 keep what was learned"]


def test_the_same_number_of_classes_in_another_order_is_sorted_by_name():
    swapped = ("cat", "dog", "bird", "cow")
    config, model, old = fresh_and_old("FCOSHead", new=swapped)
    transfer_weights(model, old.state_dict(), config=config, own_classes=swapped, other_classes=OLD, path="old.pth")
    ours, theirs = model.bbox_head.conv_cls.bias, old.bbox_head.conv_cls.bias
    assert torch.equal(ours, theirs[[1, 0, 2, 3]]) and not torch.equal(ours, theirs)


@pytest.mark.parametrize("classes", [4, 80])
def test_without_names_the_class_layers_start_fresh_even_where_the_counts_agree(classes):
    names = tuple(f"class {i}" for i in range(classes))
    config, model, old = fresh_and_old("RetinaHead", new=names, old=names)
    before = model.bbox_head.retina_cls.weight.clone()
    report = transfer_weights(
        model, old.state_dict(), config=config, own_classes=names, other_classes=None, path="old.pth"
    )
    assert torch.equal(model.bbox_head.retina_cls.weight, before)
    assert torch.equal(model.bbox_head.retina_reg.weight, old.bbox_head.retina_reg.weight)
    assert report.fresh == ("bbox_head.retina_cls.weight", "bbox_head.retina_cls.bias")
    assert report.lines()[1] == (
        f"classes: all {classes} start fresh: the file does not say which classes it was trained for"
    )


def test_one_class_takes_its_rows():
    config, model, old = fresh_and_old("RetinaHead", new=("cow",))
    transfer_weights(model, old.state_dict(), config=config, own_classes=("cow",), other_classes=OLD, path="old.pth")
    assert torch.equal(model.bbox_head.retina_cls.bias, old.bbox_head.retina_cls.bias.reshape(9, 4)[:, 3])


def test_a_file_whose_names_do_not_fit_its_layers_keeps_no_class():
    config, model, old = fresh_and_old("RetinaHead")
    report = transfer_weights(
        model, old.state_dict(), config=config, own_classes=NEW, other_classes=(*OLD, "cat2"), path="old.pth"
    )
    assert not report.kept and report.new == NEW
    assert "the file has no class layer that fits this head" in report.lines()[1]


def test_another_head_keeps_backbone_and_neck():
    config, model, _ = fresh_and_old("FCOSHead")
    old = built(config_of("RetinaHead", OLD), seed=2)
    report = transfer_weights(
        model, old.state_dict(), config=config, own_classes=NEW, other_classes=OLD, path="old.pth"
    )
    assert torch.equal(model.backbone.conv1.weight, old.backbone.conv1.weight)
    assert "bbox_head.conv_cls.weight" in report.fresh and "bbox_head.retina_cls.weight" in report.unused
    assert not report.kept


@pytest.mark.parametrize(
    "rename",
    [
        lambda key: f"module.{key}",
        lambda key: f"model.{key}",
        lambda key: f"module.model.{key}",
        lambda key: "ema_" + key.replace(".", "_"),
        lambda key: f"ema_model.module.{key}",
        lambda key: key.replace("backbone.", "backbone._orig_mod."),
    ],
)
def test_the_prefixes_of_wrappers_come_off(rename):
    config, model, old = fresh_and_old("RetinaHead")
    renamed = {rename(key): value for key, value in old.state_dict().items()}
    report = transfer_weights(model, renamed, config=config, own_classes=NEW, other_classes=OLD, path="old.pth")
    assert not report.fresh and not report.unused
    assert torch.equal(model.backbone.conv1.weight, old.backbone.conv1.weight)


def test_a_name_without_prefix_goes_before_the_same_with_one():
    config, model, old = fresh_and_old("RetinaHead")
    both = {f"ema_{k.replace('.', '_')}": torch.zeros_like(v) for k, v in old.state_dict().items()}
    both.update(old.state_dict())
    transfer_weights(model, both, config=config, own_classes=NEW, other_classes=OLD, path="old.pth")
    assert torch.equal(model.backbone.conv1.weight, old.backbone.conv1.weight)


def test_random_numbers_go_on_as_if_nothing_had_been_built():
    config, model, old = fresh_and_old("RetinaHead")
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    transfer_weights(model, old.state_dict(), config=config, own_classes=NEW, other_classes=OLD, path="old.pth")
    assert torch.equal(torch.rand(3), wanted)


def test_nothing_that_fits_is_an_error_of_one_line(tmp_path):
    config, model, old = fresh_and_old("RetinaHead")

    def start(weights):
        torch.save(weights, tmp_path / "w.pth")
        with pytest.raises(CheckpointError) as caught:
            start_from(model, tmp_path / "w.pth", NEW, config=config)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "none of its 1 tensors fits RetinaNet as configured (its first is 'some.weight'" in start(
        {"some.weight": torch.zeros(3)}
    )
    alone = {key.removeprefix("backbone."): v for key, v in old.state_dict().items() if key.startswith("backbone")}
    assert "weights of a backbone alone, not of a RetinaNet; give it as pretrained=" in start(alone)


# --- names ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("own", "other", "pairs"),
    [
        (["cat", "dog"], ["dog", "cat"], [(0, 1), (1, 0)]),
        (["Cat"], ["dog", "CAT"], [(0, 1)]),
        (["cats", "cat-"], ["cat"], []),
        (["cat", "Cat"], ["Cat", "cat"], [(0, 1), (1, 0)]),
        (["cat", "Cat"], ["CAT"], []),
        (["CAT"], ["cat", "Cat"], []),
        (["Straße"], ["STRASSE"], [(0, 0)]),
        (["red cell", "dog"], ["dog", "Red_Cell"], [(0, 1), (1, 0)]),
    ],
)
def test_names_are_the_same_but_for_spelling_or_they_are_not(own, other, pairs):
    assert match_classes(own, other) == pairs


def test_the_lines_name_classes_and_near_misses():
    own = ("dog", "cats", "red blood cell", "zebra")
    config, model, old = fresh_and_old("RetinaHead", new=own, old=("dog", "cat", "red_blood_cell", "cow"))
    report = transfer_weights(
        model, old.state_dict(), config=config, own_classes=own,
        other_classes=("dog", "cat", "red_blood_cell", "cow"), path="runs/old.pth",
    )  # fmt: skip
    number = len(model.state_dict())
    assert report.lines() == [
        f"weights from runs/old.pth: {number} of {number} tensors loaded",
        "classes: 2 of 4 keep what was learned (dog, red blood cell); new: cats, zebra; dropped: cat, cow",
        "not taken for the same class: 'cats' (the file has 'cat'); rename one if it is, to keep what was learned",
    ]


# --- files ------------------------------------------------------------------------------------------------------------
WEIGHTS = {"a.weight": torch.arange(3.0)}


@pytest.mark.parametrize(
    ("meta", "names"),
    [
        ({"dataset_meta": {"classes": ("cat", "dog"), "palette": [(1, 2, 3)]}}, ["cat", "dog"]),
        ({"dataset_meta": {"CLASSES": ["cat"]}}, ["cat"]),
        ({"CLASSES": ("cat", "dog")}, ["cat", "dog"]),
        ({"CLASSES": "cat"}, ["cat"]),
        ({"epoch": 3}, None),
        ({"dataset_meta": {"classes": (1, 2)}}, None),
    ],
)
def test_class_names_of_mmdetections_files(tmp_path, meta, names):
    torch.save({"state_dict": WEIGHTS, "meta": meta}, tmp_path / "w.pth")
    found = read_named_weights(tmp_path / "w.pth")
    assert found.classes == names and torch.equal(found.state_dict["a.weight"], WEIGHTS["a.weight"])


@pytest.mark.parametrize(("task", "names"), [("detection", ["cat", "dog"]), ("volume", ["cat", "dog"])])
def test_class_names_of_our_own_checkpoints(tmp_path, task, names):
    write_checkpoint(
        tmp_path / "best.pth",
        model_config={},
        preprocessing={},
        labels=["cat", "dog"],
        inference={},
        state_dict=WEIGHTS,
        meta={},
        task=task,
    )
    assert read_named_weights(tmp_path / "best.pth").classes == names


def test_a_training_of_mmengine_is_read_without_its_objects(tmp_path):
    from mmengine.logging import HistoryBuffer

    history = HistoryBuffer(np.ones(3), np.ones(3))
    torch.save(
        {"state_dict": WEIGHTS, "meta": {"CLASSES": ("cat",)}, "message_hub": {"log_scalars": {"loss": history}}},
        tmp_path / "epoch_1.pth",
    )
    found = read_named_weights(tmp_path / "epoch_1.pth")
    assert found.classes == ["cat"] and torch.equal(found.state_dict["a.weight"], WEIGHTS["a.weight"])


def test_code_in_a_file_is_not_run(tmp_path):
    marker = tmp_path / "code_ran"

    class Evil:
        def __reduce__(self):
            return (open, (str(marker), "w"))

    torch.save({"state_dict": WEIGHTS, "meta": Evil()}, tmp_path / "evil.pth")
    assert read_named_weights(tmp_path / "evil.pth").classes is None
    torch.save({"state_dict": {"a.weight": Evil()}}, tmp_path / "evil.pth")
    with pytest.raises(CheckpointError, match="holds no weights"):
        read_named_weights(tmp_path / "evil.pth")
    assert not marker.exists()


def test_files_that_are_none_are_refused_in_one_line(tmp_path):
    from safetensors.torch import save_file

    (tmp_path / "x.pth").write_bytes(b"no")
    torch.save({"epoch": 3}, tmp_path / "y.pth")
    save_file(WEIGHTS, tmp_path / "z.safetensors")
    for name, message in (("x.pth", "x.pth"), ("y.pth", "holds no weights"), ("none.pth", "no such checkpoint")):
        with pytest.raises(CheckpointError, match=message) as caught:
            read_named_weights(tmp_path / name)
        assert "\n" not in str(caught.value)
    assert read_named_weights(tmp_path / "z.safetensors").classes is None


# --- volumes ----------------------------------------------------------------------------------------------------------
ORGANS = ("background", "spleen", "Liver", "pancreas", "aorta")
OWN = ("background", "tumour", "liver", "spleen")
KEPT = {0: 0, 2: 2, 3: 1}  # label in OWN -> label in ORGANS
UNET = {"channels": [4, 8, 16], "strides": [2, [1, 2, 2]]}
DYNUNET = {"kernel_size": [3, 3, 3], "strides": [1, 2, 2], "upsample_kernel_size": [2, 2], "filters": [4, 8, 16]}
CHAINED = "UNet of residual units"  # ends in a layer from classes to classes
NETWORKS = {
    "UNet": UNET,
    CHAINED: {**UNET, "num_res_units": 2},
    "DynUNet": {**DYNUNET, "deep_supervision": True},
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1, 1], "blocks_up": [1, 1]},
    "UNETR": {"img_size": [16, 16, 32], "feature_size": 4, "hidden_size": 12, "mlp_dim": 16, "num_heads": 2},
}
SMALL_UNITS = {"patch": (2, 2, 2), "unit": (2, 2, 2)}
DFORMER = {
    "type": "VolumeSegmentor",
    "backbone": {"type": "DFormer", "widths": (8, 16), "depths": (2, 2), "heads": (1, 2), **SMALL_UNITS},
    "neck": {"type": "DFormerDecoder", "in_channels": (8, 16), "depths": (2,), "heads": (1,), **SMALL_UNITS},
    "head": {"type": "PatchExpandingHead", "in_channels": (8,), "patch": (2, 2, 2), "deep_supervision": 1},
}


def of_volumes(name, classes, seed):
    """Config and network, random values in every parameter."""
    from densekit.models.assemble import model_config
    from densekit.registry import MODELS as registry

    if name == "DFormer":
        given = DFORMER
    else:
        backbone = {"type": "MonaiNetwork", "name": name.partition(" ")[0], "args": NETWORKS[name]}
        given = {"type": "VolumeSegmentor", "backbone": backbone, "head": {"type": "LogitsHead"}}
    config = model_config(given, len(classes), in_channels=1)
    torch.manual_seed(seed)
    model = registry.build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    return config, model.double().eval()


@pytest.mark.parametrize("name", ["DFormer", *(name for name in NETWORKS if name != CHAINED)])
def test_a_structure_is_seen_as_by_the_old_network(name):
    config, model = of_volumes(name, OWN, seed=1)
    old = of_volumes(name, ORGANS, seed=2)[1]
    report = transfer_weights(
        model, old.state_dict(), config=config, own_classes=OWN, other_classes=ORGANS, path="old.pth"
    )
    volume = torch.randn(1, 1, 16, 16, 32, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = model.predict_logits(volume), old.predict_logits(volume)
    for own, other in KEPT.items():
        torch.testing.assert_close(ours[:, own], theirs[:, other])
    assert not torch.allclose(ours[:, 1], theirs[:, 3])
    assert (report.kept, report.new) == (("background", "liver", "spleen"), ("tumour",))
    assert report.dropped == ("pancreas", "aorta")
    assert not report.fresh and report.rows
    assert "3 of 4 keep what was learned" in report.lines()[1]


@pytest.mark.parametrize("name", ["DFormer", CHAINED])
def test_a_network_of_volumes_whose_classes_are_in_another_order_is_the_same(name):
    turned = (ORGANS[0], *reversed(ORGANS[1:]))
    config, model = of_volumes(name, turned, seed=1)
    old = of_volumes(name, ORGANS, seed=2)[1]
    transfer_weights(model, old.state_dict(), config=config, own_classes=turned, other_classes=ORGANS, path="old.pth")
    volume = torch.randn(1, 1, 16, 16, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model.predict_logits(volume)[:, [0, 4, 3, 2, 1]], old.predict_logits(volume))


@pytest.mark.parametrize("name", ["DFormer", CHAINED])
def test_more_structures_change_nothing_of_those_that_are_known(name):
    more = (ORGANS[0], "tumour", *ORGANS[1:])
    config, model = of_volumes(name, more, seed=1)
    old = of_volumes(name, ORGANS, seed=2)[1]
    transfer_weights(model, old.state_dict(), config=config, own_classes=more, other_classes=ORGANS, path="old.pth")
    volume = torch.randn(1, 1, 16, 16, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(model.predict_logits(volume)[:, [0, 2, 3, 4, 5]], old.predict_logits(volume))


def test_a_checkpoint_of_mmsegmentation_gives_its_logits(tmp_path):
    """Its SegFormer-B0 in its own layout of keys; the norms of its encoder all have the same eps."""
    from mmengine.registry import DefaultScope
    from mmseg.models import MixVisionTransformer, SegformerHead

    from densekit.models.assemble import assemble
    from densekit.registry import MODELS as registry

    torch.manual_seed(0)
    levels = (32, 64, 160, 256)
    encoder = MixVisionTransformer(
        embed_dims=32, num_layers=[2, 2, 2, 2], num_heads=[1, 2, 5, 8], sr_ratios=[8, 4, 2, 1], out_indices=(0, 1, 2, 3)
    )
    settings = {"channels": 256, "num_classes": 5, "norm_cfg": {"type": "BN"}}
    head = SegformerHead(in_channels=list(levels), in_index=[0, 1, 2, 3], **settings)
    parts = {"backbone": encoder.eval(), "decode_head": head.eval()}
    for module in parts.values():
        for value in module.state_dict().values():
            if value.is_floating_point():
                value.copy_(0.01 + 0.03 * torch.rand(value.shape))
    weights = {f"{part}.{key}": value for part, module in parts.items() for key, value in module.state_dict().items()}
    names = tuple("abcde")
    torch.save({"state_dict": weights, "meta": {"dataset_meta": {"classes": names}}}, tmp_path / "mmseg.pth")
    backbone = {"type": "mit_b0", "inner_eps": 1e-6}
    config = assemble(backbone=backbone, head="SegformerHead", num_classes=5, pretrained=False)
    with DefaultScope.overwrite_default_scope("mmseg"):
        ours = registry.build(config).eval()
    report = start_from(ours, tmp_path / "mmseg.pth", names, config=config)
    assert not report.fresh
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        expected = head(encoder(images))
        torch.testing.assert_close(ours.scores(images).logits, expected, rtol=0, atol=1e-5)
