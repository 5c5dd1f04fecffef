"""Small networks and detectors for the tests of densekit.models, and deterministic values for parity."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from densekit.models.assemblies import VolumeSegmentor
from densekit.models.backbones import DFormer
from densekit.models.heads import PatchExpandingHead
from densekit.models.necks import DFormerDecoder


@pytest.fixture(autouse=True)
def one_thread_and_seed():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def small_dformer():
    """Makes D-Formers of three narrow stages: patch (1, 2, 2), strides up to (4, 8, 8), 3 classes."""

    def make(*, supervision=2, skip="concat", **options):
        shared = {"patch": (1, 2, 2), "unit": (2, 4, 4), **options}
        backbone = DFormer(1, widths=(8, 16, 32), depths=(2, 2, 2), heads=(1, 2, 4), **shared)
        neck = DFormerDecoder((8, 16, 32), depths=(2, 2), heads=(1, 2), skip=skip, **shared)
        head = PatchExpandingHead((8, 16), 3, patch=shared["patch"], deep_supervision=supervision)
        return VolumeSegmentor(backbone, neck=neck, head=head)

    return make


class Fill:
    """Values that anyone can make again: ``u(j, n)``, and parameters and inputs made of them."""

    @staticmethod
    def u(j: int, n: int) -> np.ndarray:
        k = np.arange(n, dtype=np.float64)
        angle = 12.9898 * k + 78.233 * j
        product = 43758.5453 * np.sin(angle)
        return product - np.floor(product) - 0.5

    @classmethod
    def state(cls, shapes: Mapping[str, Sequence[int]]) -> dict[str, torch.Tensor]:
        """A state dict for keys in the authors' words; their order decides which values they get."""
        filled = {}
        for j, key in enumerate(sorted(shapes), start=1):
            shape = tuple(shapes[key])
            u = cls.u(j, math.prod(shape))
            if key.endswith("running_var"):
                values = 1 + 0.5 * np.abs(u)
            elif key.endswith("running_mean"):
                values = 0.2 * u
            elif len(shape) == 1 and key.endswith(("weight", "temp")):
                values = 1 + 0.2 * u
            elif len(shape) == 1:
                values = 0.2 * u
            else:
                values = 2 * u * math.sqrt(3 / math.prod(shape[1:]))
            filled[key] = torch.from_numpy(values.astype(np.float32).reshape(shape))
        return filled

    @classmethod
    def input(cls, j: int, shape: Sequence[int]) -> torch.Tensor:
        return torch.from_numpy((2 * cls.u(1000 + j, math.prod(shape))).astype(np.float32).reshape(shape))

    @classmethod
    def summary(cls, x: torch.Tensor, seed: int) -> tuple[float, float, float]:
        """Mean, root mean square and projection on ``u(seed)``."""
        flat = x.detach().double().flatten().cpu().numpy()
        return flat.mean(), math.sqrt((flat**2).mean()), float(flat @ cls.u(seed, flat.size)) / math.sqrt(flat.size)

    @classmethod
    def check(cls, x: torch.Tensor, seed: int, expected: str) -> None:
        """Compare with a published ``mean/rms/proj``."""
        wanted = [float(value.replace("−", "-")) for value in expected.split("/")]
        found = cls.summary(x, seed)
        assert found[:2] == pytest.approx(wanted[:2], abs=2e-5), (found, wanted)
        assert found[2] == pytest.approx(wanted[2], abs=2e-4 if x.device.type == "cpu" else 1e-3), (found, wanted)


@pytest.fixture(scope="session")
def fill() -> type[Fill]:
    return Fill


@pytest.fixture(params=["cpu", *(["cuda"] if torch.cuda.is_available() else [])])
def device(request) -> str:
    return request.param


HEIGHT, WIDTH = 64, 96
BOXES = ([[8, 6, 40, 44], [50, 20, 90, 60]], [[4, 30, 30, 60], [20, 4, 70, 50]])


@pytest.fixture
def toy_batch():
    """Makes noise images with two objects each, as a data loader collates them."""
    from mmdet.structures import DetDataSample
    from mmdet.structures.mask import BitmapMasks
    from mmengine.structures import InstanceData

    def make(height=HEIGHT, width=WIDTH, images=2):
        generator = torch.Generator().manual_seed(0)
        inputs, samples = [], []
        for number, boxes in enumerate(BOXES[:images]):
            pixels = np.zeros((2, height, width), dtype=np.uint8)
            for mask, (x1, y1, x2, y2) in zip(pixels, boxes, strict=True):
                mask[y1:y2, x1:x2] = 1
            sizes = dict.fromkeys(("img_shape", "ori_shape", "pad_shape"), (height, width))
            sample = DetDataSample(metainfo={**sizes, "scale_factor": (1.0, 1.0), "img_id": number})
            sample.gt_instances = InstanceData(
                bboxes=torch.tensor(boxes, dtype=torch.float32),
                labels=torch.tensor([0, 2]),
                masks=BitmapMasks(pixels, height, width),
            )
            sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
            samples.append(sample)
            inputs.append(torch.randint(0, 256, (3, height, width), generator=generator, dtype=torch.uint8))
        return {"inputs": inputs, "data_samples": samples}

    return make


@pytest.fixture
def build_detector():
    """Builds a model config by MMDetection's own registry, from scratch, with weights that are initialised."""
    from mmdet.registry import MODELS
    from mmengine.config import Config
    from mmengine.logging import MMLogger
    from mmengine.registry import DefaultScope

    def build(model):
        DefaultScope.get_instance("detection tests", scope_name="mmdet")
        MMLogger.get_instance("detection tests").setLevel("WARNING")  # init_weights lists every parameter
        torch.manual_seed(0)
        detector = MODELS.build(Config({"model": model}).model)
        detector.init_weights()
        return detector

    return build
