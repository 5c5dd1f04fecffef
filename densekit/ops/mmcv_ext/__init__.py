"""Stand-ins for mmcv's compiled operators, so that MMDetection and MMSegmentation run without a compiler.

``pip install onedl-mmcv`` gives an mmcv without its extension module ``mmcv._ext``, and then ``import mmdet.models``
fails. ``import densekit`` puts a finder in place (:mod:`.finder`) that supplies this module when mmcv asks for it, from
``torchvision.ops`` and plain torch: CPU and CUDA, float64 to bfloat16, with torchvision's gradients. Nothing is
imported until then.

Where a compiled mmcv exists the stand-ins serve all the same. ``DENSEKIT_OPS=mmcv`` in the environment, or
``select_operators("mmcv")`` before mmcv's operators are first imported, hands everything back to mmcv.

=================== ====================================================================================================
:mod:`.extension`   the module that appears as ``mmcv._ext``: one function per name that mmcv's Python layer calls
:mod:`.adjust`      what is put right in OpenMMLab's Python layer while it is imported, each with its reason: one table
:mod:`.missing`     the operators without a stand-in: who wants them, and what to do
the other files     one family of operators each
=================== ====================================================================================================
"""

from densekit.ops.mmcv_ext.finder import install, select_operators

__all__ = ["install", "select_operators"]
