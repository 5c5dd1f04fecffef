"""Ready-made augmentation for ordinary photographs, as config dicts for a detection pipeline."""

from __future__ import annotations

from typing import Any

from densekit.errors import ConfigError, close_names

Transform = dict[str, Any]

PRESETS = ("light", "strong")

_GREY = [124, 116, 104]  # mean colour of photographs (ImageNet), red, green, blue: what covered and empty places show


def augmentation(name: str, *, masks: bool = False) -> list[Transform]:
    """Return the transforms of a preset, to be put into ``train_pipeline`` right behind ``Resize``.

    There strengths are in pixels of the network's input, the same for images of all sizes, and large photographs cost
    no more than small ones. Flips are not among them: they stay with the pipeline's ``RandomFlip``.

    ``"light"`` changes how an image was taken, never where things are. Per image:

    ==========================  ==========  ==================================================================
    brightness, contrast,       50 %        each up to a fifth up or down, hue by up to 5 degrees (ColorJitter)
    saturation, hue
    exposure curve              20 %        gamma 0.8 to 1.25 (RandomGamma)
    blur                        10 %        out of focus, or moved by up to 5 pixels (GaussianBlur, MotionBlur)
    noise                       10 %        with a standard deviation of 1 to 3 % of the range (GaussNoise)
    JPEG                        20 %        compressed to quality 55 to 95 (ImageCompression)
    ==========================  ==========  ==================================================================

    ``"strong"`` is for long trainings and small data sets. Per image:

    ==========================  ==========  ==================================================================
    scale, shift, rotation,     50 %        0.7 to 1.3 times the size, moved by up to 8 % of it, turned by up to 7 and
    shear                                   slanted by up to 3 degrees (Affine); what was beyond the border is grey
    colour                      70 %        one of: the above up to three tenths and 15 degrees of hue; hue, saturation
                                            and value shifted; local contrast (CLAHE); tone curve
    greyscale                   3 %         (ToGray)
    exposure curve              25 %        gamma 0.67 to 1.5
    blur or sharpening          20 %        blur up to 7 pixels, or sharpened
    noise                       20 %        2 to 6 %
    JPEG                        30 %        quality 35 to 90
    covered rectangles          30 %        1 to 3 grey ones, each up to 1.5 % of the image's area (Erasing)
    ==========================  ==========  ==================================================================

    An object of which an affine transform or a rectangle leaves less than a fifth is no longer asked for.

    Args:
        name: ``"light"`` or ``"strong"``.
        masks: The pipeline carries masks: the box of an object that was turned is drawn around its mask anew.

    Raises:
        ConfigError: for another name.
    """
    if name not in PRESETS:
        raise ConfigError(f"there is no augmentation {name!r}{close_names(name, PRESETS)}; known: {', '.join(PRESETS)}")
    if name == "light":
        return [{"type": "densekit.Albumentations", "transforms": _light()}]
    return [
        {"type": "densekit.Albumentations", "transforms": _strong(), "min_visibility": 0.2, "boxes_from_masks": masks}
    ]


def _one_of(*transforms: Transform, p: float) -> Transform:
    return {"type": "OneOf", "transforms": list(transforms), "p": p}


def _jitter(most: float, hue: float) -> Transform:
    span = [1 - most, 1 + most]
    return {"type": "ColorJitter", "brightness": span, "contrast": span, "saturation": span, "hue": [-hue, hue], "p": 1}


def _noise(low: float, high: float, p: float) -> Transform:
    # drawn for every second pixel, as a camera's noise has a grain; four times faster
    return {"type": "GaussNoise", "std_range": [low, high], "noise_scale_factor": 0.5, "p": p}


def _rectangle(p: float) -> Transform:
    return {"type": "Erasing", "scale": [0.002, 0.015], "ratio": [0.4, 2.5], "fill": _GREY, "p": p}


def _light() -> list[Transform]:
    return [
        {**_jitter(0.2, 5 / 360), "p": 0.5},
        {"type": "RandomGamma", "gamma_limit": [80, 125], "p": 0.2},
        _one_of({"type": "GaussianBlur", "blur_limit": [3, 5]}, {"type": "MotionBlur", "blur_limit": [3, 5]}, p=0.1),
        _noise(0.01, 0.03, p=0.1),
        {"type": "ImageCompression", "quality_range": [55, 95], "p": 0.2},
    ]


def _strong() -> list[Transform]:
    return [
        {
            "type": "Affine",
            "scale": [0.7, 1.3],
            "keep_ratio": True,
            "translate_percent": [-0.08, 0.08],
            "rotate": [-7, 7],
            "shear": [-3, 3],
            "rotate_method": "ellipse",  # the box around the turned corners would be a tenth too wide
            "fill": _GREY,
            "p": 0.5,
        },
        _one_of(
            {**_jitter(0.3, 15 / 360), "p": 0.5},
            {
                "type": "HueSaturationValue",
                "hue_shift_limit": 8,
                "sat_shift_limit": 40,
                "val_shift_limit": 30,
                "p": 0.2,
            },
            {"type": "CLAHE", "clip_limit": [1, 3], "p": 0.15},
            {"type": "RandomToneCurve", "scale": 0.2, "p": 0.15},
            p=0.7,
        ),
        {"type": "ToGray", "p": 0.03},
        {"type": "RandomGamma", "gamma_limit": [67, 150], "p": 0.25},
        _one_of(
            {"type": "GaussianBlur", "blur_limit": [3, 7]},
            {"type": "MotionBlur", "blur_limit": [3, 7]},
            {"type": "Sharpen", "alpha": [0.1, 0.4]},
            p=0.2,
        ),
        _noise(0.02, 0.06, p=0.2),
        {"type": "ImageCompression", "quality_range": [35, 90], "p": 0.3},
        {"type": "Sequential", "transforms": [_rectangle(1), _rectangle(0.6), _rectangle(0.6)], "p": 0.3},
    ]
