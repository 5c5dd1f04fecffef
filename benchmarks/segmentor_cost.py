"""Parameters and multiply-accumulates of the ADE20K segmentors at their crop, and the published ones beside them.

    python benchmarks/segmentor_cost.py [CONFIG ...]

Counted on the meta device, with one image and without auxiliary heads. Published: SegFormer, arXiv 2105.15203; of
VWFormer the paper's 46.6 and 63.3 GMACs of B2 and B3 are 2.6 below any form of its released code.
"""

import argparse

from densekit.engine.config import shipped_configs
from densekit.models.assemble import model_config
from densekit.models.cost import segmentor_cost
from densekit.tasks import load_config

PUBLISHED = {
    **{f"segformer-b{n}_ade20k": p for n, p in enumerate([(3.8, 8.4), (13.7, 15.9), (27.5, 62.4), (47.3, 79.0)])},
    "segformer-b4_ade20k": (64.1, 95.7),
    "vwformer-b0_ade20k": (3.7, 5.8),
    "vwformer-b2_ade20k": (27.4, 46.6),
    "vwformer-b3_ade20k": (47.3, 63.3),
    "vwformer-b5_ade20k": (84.6, 96.1),
}
CLASSES = 150


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("configs", nargs="*", help="default: all of ADE20K")
    given = parser.parse_args().configs or [name for name in shipped_configs() if name.endswith("_ade20k")]
    print(f"{'config':<28} {'side':>5} {'M parameters':>13} {'GMACs':>8}  published")
    for name in given:
        config = load_config(name)
        last = config.train_pipeline[-1] if len(config.train_pipeline) == 1 else config.train_pipeline[1]
        side = last.get("crop_size", last.get("scale"))[0]
        cost = segmentor_cost(model_config(config.model, CLASSES, pretrained=False), side, side)
        published = "{} M, {} G".format(*PUBLISHED[name]) if name in PUBLISHED else ""
        print(f"{name:<28} {side:>5} {cost.parameters / 1e6:13.2f} {cost.multiply_accumulates / 1e9:8.2f}  {published}")


if __name__ == "__main__":
    main()
