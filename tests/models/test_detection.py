"""2D parts are found by every registry, and cost nothing to those who do not ask for them."""

import subprocess
import sys

import pytest

from densekit.registry import MODELS

PARTS = [
    "SEPC", "RCFPN", "PANetNeck",
    "AllLevelRoIExtractor", "PANetShared2FCBBoxHead", "PANetConv4FCBBoxHead", "PANetMaskHead",
    "SEPCRetinaHead", "SEPCFreeAnchorRetinaHead", "SEPCFSAFHead", "SEPCATSSHead", "SEPCGFLHead", "SEPCFCOSHead",
]  # fmt: skip


@pytest.mark.parametrize("name", PARTS)
def test_every_registry_finds_it(name):
    from mmdet.registry import MODELS as THEIRS
    from mmengine.registry import MODELS as ROOT

    assert MODELS.get(name) is THEIRS.get(f"densekit.{name}") is ROOT.get(f"densekit.{name}")
    assert MODELS.get(name).__name__ == name


def test_a_list_of_necks_in_a_stock_config_keeps_the_keys_of_published_weights():
    from mmdet.registry import MODELS as THEIRS

    fpn = {"type": "FPN", "in_channels": [8, 8], "out_channels": 8, "num_outs": 5}
    neck = THEIRS.build([fpn, {"type": "densekit.SEPC", "in_channels": 8, "out_channels": 8, "num_pconvs": 1}])
    assert {key.partition(".")[0] for key in neck.state_dict()} == {"0", "1"}


def test_volumes_do_not_pay_for_mmdetection():
    code = (
        "import sys; from densekit.registry import MODELS\n"
        "assert MODELS.get('DFormer') and MODELS.get('VolumeSegmentor') and MODELS.get('DiceCELoss')\n"
        "assert not {'mmdet', 'mmcv', 'timm', 'torchvision'} & set(sys.modules), sorted(sys.modules)\n"
        "assert MODELS.get('SEPC') and 'mmdet' in sys.modules"
    )
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True, timeout=600)
