"""The parts that stand on MMDetection; importing this module registers them.

``densekit.models`` does not import it, since MMDetection takes 5 s to import and a 3D model needs none of it. The
registry does, when it is asked for a name that no other part has.
"""

from densekit.models.heads.all_level_roi_extractor import AllLevelRoIExtractor
from densekit.models.heads.paired_heads import (
    SEPCATSSHead,
    SEPCFCOSHead,
    SEPCFreeAnchorRetinaHead,
    SEPCFSAFHead,
    SEPCGFLHead,
    SEPCRetinaHead,
)
from densekit.models.heads.panet_bbox_head import PANetConv4FCBBoxHead, PANetShared2FCBBoxHead
from densekit.models.heads.panet_mask_head import PANetMaskHead
from densekit.models.necks.panet import PANetNeck
from densekit.models.necks.rcnet import RCFPN
from densekit.models.necks.sepc import SEPC

__all__ = [
    "RCFPN",
    "SEPC",
    "AllLevelRoIExtractor",
    "PANetConv4FCBBoxHead",
    "PANetMaskHead",
    "PANetNeck",
    "PANetShared2FCBBoxHead",
    "SEPCATSSHead",
    "SEPCFCOSHead",
    "SEPCFSAFHead",
    "SEPCFreeAnchorRetinaHead",
    "SEPCGFLHead",
    "SEPCRetinaHead",
]
