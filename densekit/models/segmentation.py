"""The parts that stand on MMSegmentation; importing this module registers them.

The registry does that as late as it can, see :mod:`densekit.models.detection`.
"""

import densekit.models.assemblies.channels_preprocessor
import densekit.models.assemblies.semantic_segmentor
import densekit.models.heads.dpt_head
import densekit.models.heads.linear_head
import densekit.models.heads.segformer
import densekit.models.heads.vwformer
import densekit.models.heads.vwformer_masks  # noqa: F401
