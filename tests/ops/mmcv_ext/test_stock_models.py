"""Stock MMDetection configs, shrunk, are built, trained one step and used for prediction without a compiled mmcv."""

import sys
from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
import torchvision.ops
from mmdet.registry import MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmdet.utils import register_all_modules
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper
from mmengine.structures import InstanceData

from densekit.ops.mmcv_ext import nms
from densekit.ops.mmcv_ext.missing import MissingOperatorError

torch.set_num_threads(1)
CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"
CLASSES = 3
HEIGHT, WIDTH = 64, 96

# What is made smaller wherever a config has it; ResNets get 18 layers of 16 channels and more.
SMALLER = {
    "num_classes": {80: CLASSES},
    "num_things_classes": {80: CLASSES},
    "in_channels": {256: 64},
    "out_channels": {256: 64},
    "feat_channels": {256: 64},
    "embed_dims": {256: 64},
    "conv_out_channels": {256: 64},
    "output_channels": {256: 64},
    "proposal_feature_channel": {256: 64},
    "fc_out_channels": {1024: 64},
    "feedforward_channels": {1024: 64, 2048: 64},
    "num_feats": {128: 32},
    "num_layers": {6: 1, 9: 2},
    "num_queries": {100: 20, 300: 20, 900: 20},
    "num_proposals": {100: 20},
    "num_dn_queries": {100: 10},
    "num_points": {12544: 128},
    "num": {256: 32, 512: 32},
    "stacked_convs": {4: 1},
    "num_convs": {4: 1},
    "nms_pre": {1000: 100, 2000: 100, 30000: 100},
    "max_per_img": {100: 20, 300: 20, 1000: 100, 2000: 100},
    "max_per_image": {100: 20},
    # Untrained models are sure of nothing: without a threshold there is something to suppress.
    "score_thr": dict.fromkeys((0.05, 0.01, 0.02, 0.001), 0.0),
}


def shrink(node):
    """The config with smaller numbers and without weights to download."""
    if isinstance(node, (list, tuple)):
        return type(node)(shrink(item) for item in node)
    if not isinstance(node, dict):
        return node
    node = {key: shrink(value) for key, value in node.items() if key != "init_cfg" or "Pretrained" not in str(value)}
    for key, value in node.items():
        if not isinstance(value, (dict, list, tuple)):
            node[key] = SMALLER.get(key, {}).get(value, value)
    if node.get("type") == "ResNet":
        # Only a bottleneck takes deformable convolutions.
        node.update(depth=50 if node.get("dcn") else 18, base_channels=16)
    if node.get("type") == "SyncBN":
        node["type"] = "BN"
    return node


def stock(path: str) -> Config:
    """The shrunk model of a stock config."""
    config = Config(shrink(Config.fromfile(CONFIGS / path).model.to_dict()))
    if config.backbone.type == "ResNet":
        widths = [16 * 2**stage * (4 if config.backbone.depth == 50 else 1) for stage in range(4)]
        taker = config.neck if "neck" in config else config.panoptic_head
        taker.in_channels = widths[-len(taker.in_channels) :]
    if "DETR" in config.type or config.type == "DINO":
        config.bbox_head.embed_dims = 64
    if config.type == "Mask2Former":
        config.panoptic_head.loss_cls.class_weight = [1.0] * CLASSES + [0.1]
    config.data_preprocessor.batch_augments = None
    return config


def batch(masks: bool, height: int = HEIGHT, width: int = WIDTH, images: int = 2) -> dict:
    """Noise images with two objects each, as a data loader collates them."""
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for boxes in ([[8, 6, 40, 44], [50, 20, 90, 60]], [[4, 30, 30, 60], [20, 4, 70, 50]])[:images]:
        instances = InstanceData(bboxes=torch.tensor(boxes, dtype=torch.float32), labels=torch.tensor([0, 2]))
        if masks:
            pixels = np.zeros((2, height, width), dtype=np.uint8)
            for mask, (x1, y1, x2, y2) in zip(pixels, boxes, strict=True):
                mask[y1:y2, x1:x2] = 1
            instances.masks = BitmapMasks(pixels, height, width)
        size = {"img_shape": (height, width), "ori_shape": (height, width), "pad_shape": (height, width)}
        sample = DetDataSample(metainfo={**size, "scale_factor": (1.0, 1.0), "img_id": len(samples)})
        sample.gt_instances, sample.ignored_instances = instances, InstanceData(bboxes=torch.zeros(0, 4))
        samples.append(sample)
        inputs.append(torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8))
    return {"inputs": inputs, "data_samples": samples}


def build(config: Config):
    register_all_modules(init_default_scope=True)
    MMLogger.get_current_instance().setLevel("WARNING")  # init_weights lists every parameter
    MessageHub.get_current_instance().update_info("epoch", 0)  # the runner's part; TOOD asks for it
    torch.manual_seed(0)
    model = MODELS.build(config)
    model.init_weights()
    return model


def train_step(model, data: dict) -> None:
    """One step of training, which must move the weights of the backbone and of every head."""
    before = {name: value.clone() for name, value in model.named_parameters()}
    optimizer = OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1), clip_grad={"max_norm": 1.0})
    logs = model.train().train_step(data, optimizer)
    assert torch.isfinite(logs["loss"]) and logs["loss"] > 0
    after = dict(model.named_parameters())
    assert all(torch.isfinite(value).all() for value in after.values())
    moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in after if "backbone" in name or "head" in name} <= moved


def check_prediction(sample: DetDataSample, masks: bool) -> None:
    """Boxes with sides, scores that are probabilities, known classes; masks of the image's size."""
    found, (height, width) = sample.pred_instances, sample.ori_shape
    assert len(found) > 0
    assert found.bboxes.shape == (len(found), 4) and torch.isfinite(found.bboxes).all()
    assert (found.bboxes[:, 2:] >= found.bboxes[:, :2]).all()
    assert ((found.scores >= 0) & (found.scores <= 1)).all()
    assert ((found.labels >= 0) & (found.labels < CLASSES)).all()
    if masks:
        assert found.masks.shape == (len(found), height, width)


@pytest.fixture
def calls(monkeypatch) -> set[str]:
    """Names of the stand-ins that were really called."""
    called = set()

    def count(owner, name: str) -> None:
        function = getattr(owner, name)

        def counting(*args, **kwargs):
            called.add(name)
            return function(*args, **kwargs)

        monkeypatch.setattr(owner, name, counting)

    for name in ("nms", "roi_align", "deform_conv2d"):
        count(torchvision.ops, name)
    for name in ("nms_match", "carafe_forward", "carafe_backward", "masked_im2col_forward", "masked_col2im_forward"):
        count(sys.modules["mmcv._ext"], name)
    count(nms, "_soft_nms")
    count(sys.modules["mmcv.ops.multi_scale_deform_attn"], "multi_scale_deformable_attn_pytorch")
    return called


MSDA = "multi_scale_deformable_attn_pytorch"
BOXES = {
    "retinanet/retinanet_r50_fpn_1x_coco.py": {"nms"},
    "atss/atss_r50_fpn_1x_coco.py": {"nms"},
    "fcos/fcos_r50-caffe_fpn_gn-head_1x_coco.py": {"nms"},
    "gfl/gfl_r50_fpn_1x_coco.py": {"nms"},
    "fsaf/fsaf_r50_fpn_1x_coco.py": {"nms"},
    "free_anchor/freeanchor_r50_fpn_1x_coco.py": {"nms"},
    "vfnet/vfnet_r50_fpn_1x_coco.py": {"nms", "deform_conv2d"},
    "tood/tood_r50_fpn_1x_coco.py": {"nms", "deform_conv2d"},
    "reppoints/reppoints-moment_r50_fpn_1x_coco.py": {"nms", "deform_conv2d"},
    "guided_anchoring/ga-retinanet_r50_fpn_1x_coco.py": {"nms", "deform_conv2d", "masked_im2col_forward"},
    "yolox/yolox_tiny_8xb8-300e_coco.py": {"nms"},
    "rtmdet/rtmdet_tiny_8xb32-300e_coco.py": {"nms"},
    "ssd/ssdlite_mobilenetv2-scratch_8xb24-600e_coco.py": {"nms"},
    "faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py": {"nms", "roi_align"},
    "faster_rcnn/faster-rcnn_r50_fpn_soft-nms_1x_coco.py": {"nms", "roi_align", "_soft_nms"},
    "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py": {"nms", "roi_align", "deform_conv2d"},
    "dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py": {"nms", "roi_align", "deform_conv2d"},
    "pisa/faster-rcnn_r50_fpn_pisa_1x_coco.py": {"nms", "roi_align", "nms_match"},
    "carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py": {"nms", "roi_align", "carafe_forward", "carafe_backward"},
    "cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py": {"nms", "roi_align"},
    "sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco.py": {"roi_align"},
    "detr/detr_r50_8xb2-150e_coco.py": set(),
    "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py": {MSDA},
    "dino/dino-4scale_r50_8xb2-12e_coco.py": {MSDA},
}
MASKS = {
    "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py": {"nms", "roi_align"},
    "point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py": {"nms", "roi_align"},
    "mask2former/mask2former_r50_8xb2-lsj-50e_coco.py": {MSDA},
}


@pytest.mark.parametrize("path", [*BOXES, *MASKS])
def test_stock_config_trains_and_predicts(path, calls):
    masks = path in MASKS
    model = build(stock(path))
    train_step(model, batch(masks))
    with torch.no_grad():
        # One image: guided anchoring's masked convolution takes no more.
        (prediction,) = model.eval().test_step(batch(masks, images=1))
    check_prediction(prediction, masks)
    assert (BOXES | MASKS)[path] <= calls


def test_ssd300_on_images_of_its_size():
    model = build(stock("ssd/ssd300_coco.py"))
    train_step(model, batch(masks=False, height=300, width=300))
    with torch.no_grad():
        (prediction,) = model.eval().test_step(batch(masks=False, height=300, width=300, images=1))
    check_prediction(prediction, masks=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "path",
    [
        "mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py",
        "dcnv2/faster-rcnn_r50-mdconv-c3-c5_fpn_1x_coco.py",
        "dcn/faster-rcnn_r50-dconv-c3-c5_fpn_1x_coco.py",
        "deformable_detr/deformable-detr_r50_16xb2-50e_coco.py",
        "carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py",
    ],
)
def test_autocast(path, dtype):
    masks = path in MASKS
    model = build(stock(path)).train()
    data = model.data_preprocessor(batch(masks), training=True)
    losses = {}
    for kind in (dtype, torch.float32):
        torch.manual_seed(0)  # R-CNNs draw the regions they are trained on
        with torch.autocast("cpu", dtype, enabled=kind == dtype):
            losses[kind], _ = model.parse_losses(model(**data, mode="loss"))
    loss, exact = losses[dtype], losses[torch.float32]
    loss.backward()
    assert torch.isfinite(loss)
    # Loosely: where a bfloat16 proposal is a positive one and its exact twin is not, other regions are trained on.
    torch.testing.assert_close(loss.float(), exact, rtol=0.15, atol=0)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    with torch.autocast("cpu", dtype), torch.no_grad():
        (prediction,) = model.eval().test_step(batch(masks, images=1))
    check_prediction(prediction, masks)


def test_model_that_needs_a_missing_operator_is_told_so():
    config = stock("dcn/faster-rcnn_r50_fpn_dpool_1x_coco.py")
    with pytest.raises(
        MissingOperatorError, match=r"deform_roi_pool_forward.*DeformRoIPool.*RoIAlign.*DENSEKIT_OPS=mmcv"
    ):
        train_step(build(config), batch(masks=False))
