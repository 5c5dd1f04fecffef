"""The keys of a config for detection."""

from __future__ import annotations

from pathlib import Path

from densekit.engine.settings import POSITIVE, Setting, instance, is_number, list_of, maybe, settings_of
from densekit.tasks.image_settings import SETTINGS as IMAGE_SETTINGS

FORMATS = ("coco", "yolo", "voc", "masks")

SETTINGS = settings_of(
    [
        *IMAGE_SETTINGS.values(),
        Setting(
            "data_root",
            "data/coco",
            (maybe(instance(str, Path)), "a folder, a COCO JSON, a data.yaml, or None"),
            "COCO's own layout, or one's own data, of any layout that is recognised: `--data PATH`",
            "data",
            at_test=True,
        ),
        Setting(
            "data_format",
            None,
            (lambda value: value is None or value in FORMATS, f"None to find out, or one of {FORMATS}"),
            '"coco", "yolo", "voc" or "masks"; None: recognised',
            "data",
            at_test=True,
            of_data=True,
        ),
        Setting(
            "classes",
            None,
            (
                maybe(lambda value: list_of(str)(value) and len(value) > 0),
                "None for all, or a list of names; with one name it needs its comma: ('dog',)",
            ),
            "names to train on, in the order of their labels; None: all the data have",
            "data",
            at_test=True,
        ),
        Setting(
            "max_dets",
            100,
            POSITIVE,
            "detections of each class and image that AP counts, the best ones; COCO: 100",
            "validation",
            at_test=True,
        ),
        Setting(
            "score_threshold",
            0.3,
            (lambda value: is_number(value) and 0 <= value <= 1, "a score from 0 to 1"),
            "what pictures and predictions show; AP counts all detections",
            "validation",
        ),
    ]
)
"""Of a training of a detector."""
