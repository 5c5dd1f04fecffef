"""densekit: dense prediction in 2D and 3D, for radiology and detection.

Importing this package is cheap and silent: nothing heavier than the standard library is loaded here. The registries in
:mod:`densekit.registry` find their parts on first use.
"""

__version__ = "0.1.0"
