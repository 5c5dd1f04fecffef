"""The parts that stand on MMDetection; importing this module registers them.

``densekit.models`` does not import it, since MMDetection takes 5 s to import and a 3D model needs none of it. The
registry does, when it is asked for a name that no other part has.
"""

import densekit.models.heads.paired_heads
import densekit.models.heads.panet
import densekit.models.necks.panet
import densekit.models.necks.rcnet
import densekit.models.necks.sepc  # noqa: F401
