"""Stock MMSegmentation's SegFormer-B0 on aerial photographs, with the schedule of the config segformer-b0_dubai.

    python benchmarks/segmentation_training_peer.py PATH/aerial_dubai OUT [--iterations 320]

The same 36 training and 9 validation images (tile 6), crops, batches, optimizer and number of steps;
MMSegmentation's own loaders, transforms, network, loss and mIoU. Colour-coded masks are turned into indices first.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from PIL import Image

import densekit  # noqa: F401  mmcv's compiled operators without a compiler

COLOURS = {
    "building": (60, 16, 152),
    "land": (132, 41, 246),
    "road": (110, 193, 228),
    "vegetation": (254, 221, 58),
    "water": (226, 169, 41),
    "unlabeled": (155, 155, 155),
}


def convert(root: Path, out: Path) -> None:
    """Write images and index masks as ``out/{images,masks}/{train,val}``; black pixels have no class."""
    for image in sorted(root.glob("Tile */images/*.jpg")):
        split = "val" if image.parent.parent.name == "Tile 6" else "train"
        mask = image.parent.parent / "masks" / f"{image.stem}.png"
        name = f"{image.parent.parent.name}_{image.stem}".replace(" ", "_")
        colours = np.asarray(Image.open(mask).convert("RGB")).astype(np.int32)
        code = colours @ (65536, 256, 1)
        labels = np.full(code.shape, 255, dtype=np.uint8)
        for label, colour in enumerate(COLOURS.values()):
            labels[code == np.array(colour) @ (65536, 256, 1)] = label
        for kind in ("images", "masks"):
            (out / kind / split).mkdir(parents=True, exist_ok=True)
        (out / "images" / split / f"{name}.jpg").write_bytes(image.read_bytes())
        height, width = labels.shape
        size = Image.open(image).size
        fitted = np.full(size[::-1], 255, dtype=np.uint8)  # sizes differ by a pixel in a few
        fitted[: min(height, size[1]), : min(width, size[0])] = labels[: size[1], : size[0]]
        Image.fromarray(fitted).save(out / "masks" / split / f"{name}.png")


def config(data: Path, work_dir: Path, iterations: int) -> dict:
    """MMSegmentation's config."""
    crop, norm = (256, 256), {"type": "BN", "requires_grad": True}
    load = [{"type": "LoadImageFromFile"}, {"type": "LoadAnnotations"}]
    train = [
        *load,
        {"type": "RandomResize", "scale": (1024, 1024), "ratio_range": (0.5, 1.0), "keep_ratio": True},
        {"type": "RandomCrop", "crop_size": crop, "cat_max_ratio": 0.75},
        {"type": "RandomFlip", "prob": 0.5},
        {"type": "RandomFlip", "prob": 0.5, "direction": "vertical"},
        {"type": "PhotoMetricDistortion"},
        {"type": "PackSegInputs"},
    ]
    test = [
        {"type": "LoadImageFromFile"},
        {"type": "Resize", "scale": (768, 768), "keep_ratio": True},
        {"type": "LoadAnnotations"},
        {"type": "PackSegInputs"},
    ]

    def loader(split: str, pipeline: list, size: int, sampler: str, workers: int) -> dict:
        dataset = {
            "type": "BaseSegDataset",
            "data_root": str(data),
            "metainfo": {"classes": tuple(COLOURS), "palette": [list(c) for c in COLOURS.values()]},
            "data_prefix": {"img_path": f"images/{split}", "seg_map_path": f"masks/{split}"},
            "pipeline": pipeline,
        }
        shuffle = sampler == "InfiniteSampler"
        return {
            "batch_size": size,
            "num_workers": workers,
            "sampler": {"type": sampler, "shuffle": shuffle},
            "dataset": dataset,
        }

    model = {
        "type": "EncoderDecoder",
        "data_preprocessor": {
            "type": "SegDataPreProcessor",
            "mean": [123.675, 116.28, 103.53],
            "std": [58.395, 57.12, 57.375],
            "bgr_to_rgb": True,
            "pad_val": 0,
            "seg_pad_val": 255,
            "size": crop,
        },
        "backbone": {
            "type": "MixVisionTransformer",
            "embed_dims": 32,
            "num_stages": 4,
            "num_layers": [2, 2, 2, 2],
            "num_heads": [1, 2, 5, 8],
            "patch_sizes": [7, 3, 3, 3],
            "sr_ratios": [8, 4, 2, 1],
            "out_indices": (0, 1, 2, 3),
            "mlp_ratio": 4,
            "qkv_bias": True,
            "drop_rate": 0.0,
            "attn_drop_rate": 0.0,
            "drop_path_rate": 0.1,
        },
        "decode_head": {
            "type": "SegformerHead",
            "in_channels": [32, 64, 160, 256],
            "in_index": [0, 1, 2, 3],
            "channels": 256,
            "dropout_ratio": 0.1,
            "num_classes": len(COLOURS),
            "norm_cfg": norm,
            "align_corners": False,
            "loss_decode": {"type": "CrossEntropyLoss", "use_sigmoid": False, "loss_weight": 1.0},
        },
        "train_cfg": {},
        "test_cfg": {"mode": "whole"},
    }
    return {
        "model": model,
        "work_dir": str(work_dir),
        "default_scope": "mmseg",
        "train_dataloader": loader("train", train, 8, "InfiniteSampler", 0),
        "val_dataloader": loader("val", test, 1, "DefaultSampler", 0),
        "val_evaluator": {"type": "IoUMetric", "iou_metrics": ["mIoU"]},
        "train_cfg": {"type": "IterBasedTrainLoop", "max_iters": iterations, "val_interval": iterations // 5},
        "val_cfg": {"type": "ValLoop"},
        "optim_wrapper": {
            "type": "OptimWrapper",
            "optimizer": {"type": "AdamW", "lr": 6e-4, "betas": (0.9, 0.999), "weight_decay": 0.01},
        },
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 1e-3, "by_epoch": False, "begin": 0, "end": 50},
            {"type": "PolyLR", "power": 1.0, "begin": 50, "end": iterations, "by_epoch": False},
        ],
        "default_hooks": {"logger": {"type": "LoggerHook", "interval": 20}},
        "randomness": {"seed": 0},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--iterations", type=int, default=320)
    given = parser.parse_args()
    if not (given.out / "data").is_dir():
        convert(given.data, given.out / "data")
    from mmengine.config import Config
    from mmengine.runner import Runner
    from mmseg.utils import register_all_modules

    register_all_modules()
    start = time.process_time()
    Runner.from_cfg(Config(config(given.out / "data", given.out / "run", given.iterations))).train()
    print(f"{(time.process_time() - start) / 60:.1f} CPU minutes", file=sys.stderr)


if __name__ == "__main__":
    main()
