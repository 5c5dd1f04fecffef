"""Parameters and multiply-accumulates of every detection config, as the table of docs/detection.md.

    python benchmarks/detector_cost.py [CONFIG ...]

Nothing is computed: the models are built on PyTorch's meta device. One image of 800x1344, 80 classes; two-stage
detectors with 1000 regions for boxes and 100 for masks; SSD300 at its own size.
"""

import sys
from pathlib import Path

from mmengine.config import Config

import densekit  # noqa: F401  mmcv's operators without a compiler
from densekit.models.assemble import model_config
from densekit.models.cost import detector_cost

CONFIGS = Path(__file__).parents[1] / "configs"
SIZE = (800, 1344)
SIZES = {"ssd300_coco": (300, 300)}


def row(path: Path) -> str:
    """One line of the table."""
    cost = detector_cost(model_config(Config.fromfile(path).model, 80), *SIZES.get(path.stem, SIZE))
    return f"| `{path.stem}` | {cost.parameters / 1e6:.2f} | {cost.multiply_accumulates / 1e9:.1f} |"


if __name__ == "__main__":
    print("| config | parameters (M) | GMACs |\n|---|---:|---:|")
    for path in [Path(p) for p in sys.argv[1:]] or sorted(CONFIGS.glob("*_coco.py")):
        print(row(path), flush=True)
