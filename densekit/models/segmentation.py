"""The parts that stand on MMSegmentation; importing this module registers them.

The registry does so as it does with :mod:`densekit.models.detection`, and for its reason.
"""

import densekit.models.heads.segformer
import densekit.models.heads.vwformer  # noqa: F401
