"""One colour per label value, the same in every picture, curve and table."""

from __future__ import annotations

Color = tuple[int, int, int]

# Chosen by a greedy search in CIELAB over colours that stand out from grey anatomy and from white paper (lightness
# 45-87, chroma 34-88): each next colour is the one farthest (CIEDE2000) from those before it. For the first eight the
# search also counted the distance as people with deuteranopia and protanopia see it (Machado et al. 2009) nearly as
# much as the ordinary one; with more colours than that nobody tells all of them apart: outlines and names have to help.
_LABEL_COLORS: tuple[Color, ...] = (
    (0xE1, 0x4B, 0x3C),
    (0x4B, 0xA5, 0xFF),
    (0xF0, 0xC3, 0x3C),
    (0x4B, 0xC3, 0x78),
    (0xD2, 0x0F, 0x96),
    (0x00, 0xF0, 0xF0),
    (0xF0, 0x87, 0xB4),
    (0x69, 0x69, 0xE1),
    (0x4B, 0x78, 0x00),
    (0x00, 0x87, 0x78),
    (0xD2, 0x78, 0x00),
    (0xC3, 0xB4, 0xFF),
    (0xFF, 0xB4, 0x96),
    (0x96, 0xB4, 0x00),
    (0x96, 0x87, 0x4B),
    (0x00, 0xB4, 0xD2),
    (0xC3, 0x69, 0xE1),
    (0x00, 0x78, 0xB4),
    (0xFF, 0x00, 0x69),
    (0xD2, 0xE1, 0x96),
    (0x87, 0x5A, 0x96),
    (0xB4, 0x4B, 0x00),
    (0x3C, 0xB4, 0xA5),
    (0x78, 0xF0, 0x5A),
)
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


def css_color(index: int) -> str:
    """Return the colour of a label value as CSS writes it (``"#e14b3c"``)."""
    return "#{:02x}{:02x}{:02x}".format(*label_color(index))
