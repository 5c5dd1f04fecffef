"""densekit: dense prediction in 2D and 3D, for radiology and detection.

Importing this package is cheap and silent: nothing heavier than the standard library is loaded here. The registries in
:mod:`densekit.registry` find their parts on first use.
"""

from densekit.ops import mmcv_ext as _mmcv_ext

__version__ = "0.1.0"

_mmcv_ext.install()  # mmcv's compiled operators are served without a compiler, from the moment somebody asks for them
