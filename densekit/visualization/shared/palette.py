"""One colour per label value, the same in every picture, curve and table."""

from __future__ import annotations

Color = tuple[int, int, int]

# The first twelve come from a search (gradient ascent from random starts) over colours that stand out from grey
# anatomy and from white paper (lightness 42-93, chroma above 27): CIEDE2000 between any two is 21 in ordinary vision,
# and between any two of one outline style 20 as people with deuteranopia and protanopia see them (Machado et al. 2009).
# Twelve that are 20 apart in all three views exist only with black, white and greys among them, which a scan hides. The
# others are a greedy continuation, each the farthest from those before it.
_LABEL_COLORS: tuple[Color, ...] = (
    (0xC8, 0x00, 0x04),
    (0xA4, 0xFA, 0xFF),
    (0x83, 0x4E, 0x8E),
    (0xE1, 0x94, 0x00),
    (0x62, 0x8F, 0xFF),
    (0x37, 0x77, 0x61),
    (0xAD, 0xFE, 0xB2),
    (0x00, 0xBA, 0x9E),
    (0xFC, 0xF0, 0x1A),
    (0x13, 0x4C, 0xFD),
    (0x91, 0x8D, 0x5D),
    (0xC0, 0xA9, 0xD8),
    (0xFF, 0xB4, 0xB4),
    (0xC3, 0x00, 0x78),
    (0x69, 0x69, 0x00),
    (0x96, 0xB4, 0x00),
    (0xFF, 0x1E, 0xFF),
    (0xFF, 0x69, 0x3C),
    (0xD2, 0x78, 0x96),
    (0xFF, 0xE1, 0xA5),
    (0xB4, 0x3C, 0x4B),
    (0xFF, 0xA5, 0xE1),
    (0x1E, 0x69, 0x96),
    (0xB4, 0xFF, 0x00),
)
OUTLINES = ("solid", "dashed", "dotted")
_PER_OUTLINE = 8  # colours that are told apart by themselves; the next eight come with another outline
_MIX = 0.45  # how far the second and third round of colours lie towards white and black


def label_color(index: int) -> Color:
    """Return the colour of a label value as ``(red, green, blue)``, each 0-255.

    The colour depends on the value alone, so that a structure looks the same in all cases and reports. 0 (background)
    is black. From the 25th label on the colours come again lighter, then darker.

    Raises:
        ValueError: if ``index`` is negative.
    """
    if index < 0:
        raise ValueError(f"a label value is 0 or more, got {index}")
    if index == 0:
        return (0, 0, 0)
    tour, place = divmod(index - 1, len(_LABEL_COLORS))
    target = (None, 255, 0)[tour % 3]
    color = _LABEL_COLORS[place]
    if target is None:
        return color
    red, green, blue = (round(channel + _MIX * (target - channel)) for channel in color)
    return (red, green, blue)


def outline(index: int) -> str:
    """Return how the border of a label value is drawn, one of :data:`OUTLINES`: a second cue beside its colour."""
    return OUTLINES[(max(index, 1) - 1) // _PER_OUTLINE % len(OUTLINES)]


def css_color(index: int) -> str:
    """Return the colour of a label value as CSS writes it (``"#e14b3c"``)."""
    return "#{:02x}{:02x}{:02x}".format(*label_color(index))
