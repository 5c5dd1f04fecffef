"""Label images: ``(H, W)`` uint8, the class of each pixel from 0 on."""

IGNORED = 255
"""A pixel without a class: neither trained on nor scored."""
MOST_CLASSES = 255
"""Classes that a label image can tell apart, beside :data:`IGNORED`."""
