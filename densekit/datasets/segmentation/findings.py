"""What can be found in a data set of label images, each with its severity and remedy."""

from __future__ import annotations

from densekit.datasets.shared.findings import Collected, Kind
from densekit.datasets.shared.leaks import LEAKS

KINDS: dict[str, Kind] = {
    # --- errors ---------------------------------------------------------------------------------------------------
    "image-unreadable": Kind("error", "image files cannot be opened", "replace them, or remove them and their masks"),
    "mask-unreadable": Kind("error", "masks cannot be read", "export or fetch them again"),
    "annotation-unreadable": Kind("error", "annotations cannot be read", "correct them, or export them again"),
    "mask-missing": Kind(
        "error",
        "images without a mask, though others beside them have one",
        "add the masks, or move these images elsewhere",
    ),
    "stem-twice": Kind(
        "error",
        "several files have one stem, so nobody knows which is meant",
        "rename the files, or move those that are not meant elsewhere",
    ),
    "channels-differ": Kind(
        "error", "images have different numbers of channels", "save all with the channels that the network is to take"
    ),
    "mask-size": Kind(
        "error",
        "masks do not have the size of their image",
        "make each mask with the width and height of its image, as it is shown after EXIF rotation",
    ),
    "mask-coloured": Kind(
        "error",
        "masks are coloured (RGB) where the number of a class is expected in each pixel",
        "give a class list with colours, a CSV with the columns name,r,g,b, as classes",
    ),
    "colour-unknown": Kind(
        "error",
        "colours of masks that the class list does not have",
        "add them to the class list; a line called ignore is a colour that is neither trained on nor scored",
    ),
    "mask-value": Kind(
        "error",
        "values of masks that stand for no class",
        "complete the class list, or say with ignore which values are neither trained on nor scored",
    ),
    "split-empty": Kind(
        "error", "splits that are given but have no image", "complete the file or folder of the split, or remove it"
    ),
    "no-images": Kind("error", "no split has an image", "check the names of the splits and where the images lie"),
    "nothing-labelled": Kind(
        "error", "training splits without a labelled pixel", "check the class list and what is ignored"
    ),
    "mask-shifted": Kind(
        "error",
        "masks do not lie on their image",
        "look at the pictures of the page (--html): red is the mask as it stands, yellow as it likely fits; export the "
        "masks again without turning, mirroring, cropping or padding",
    ),
    # --- warnings -------------------------------------------------------------------------------------------------
    "mask-size-off": Kind(
        "warning",
        "masks a pixel or two larger or smaller than their image; cut, or filled up with ignored pixels, at the right "
        "and below",
        "look at the pictures: does each mask lie on its image?",
    ),
    "mask-without-image": Kind(
        "warning", "masks without an image of theirs, left out", "add the images if they were not removed on purpose"
    ),
    "image-without-mask": Kind(
        "warning", "images in folders without any mask, left out", "nothing to do if these are to be predicted on"
    ),
    "image-unannotated": Kind(
        "warning", "images that no annotation is of, left out", "annotate them, or add an annotation without objects"
    ),
    "annotation-doubtful": Kind("warning", "annotations that are doubtful", "look at them"),
    "object-without-outline": Kind(
        "warning", "objects that cover no area (boxes without outline, lines, points), left out", "outline them"
    ),
    **LEAKS,
    "mask-doubtful": Kind(
        "warning",
        "masks that may not lie on their image, or are drawn too wide or too narrow",
        "look at the pictures of the page (--html): red is the mask as it stands, yellow as it fits better",
    ),
    "class-not-in-train": Kind(
        "warning", "classes without a pixel in train: they cannot be learned", "move images of them to train"
    ),
    "class-not-in-val": Kind(
        "warning", "classes without a pixel in val: they get no score", "move images of them to val"
    ),
    "class-few-images": Kind(
        "warning",
        "classes that fewer than 5 images of train show",
        "label more images of them, or merge them with others",
    ),
    "thin-objects": Kind(
        "warning",
        "classes that largely vanish at the scale of the training",
        "train at a larger scale, on tiles or crops of the images as they are, or draw these objects wider",
    ),
    "image-shrunk": Kind(
        "warning",
        "images that are made much smaller for training",
        "cut them into tiles, or train on crops at their own scale (train_pipeline)",
    ),
    "image-enlarged": Kind(
        "warning",
        "images that are made more than twice as large for training",
        "train at a smaller scale and with smaller crops (train_pipeline, crop)",
    ),
    "image-below-crop": Kind(
        "warning",
        "images that do not fill a crop at the scale of the training; the rest is padded and ignored",
        "train at a larger scale or with smaller crops (train_pipeline, crop)",
    ),
    "class-unused": Kind(
        "warning",
        "classes of the list without a single pixel in any mask",
        "leave them out of the class list, or check that none is lost",
    ),
    "mask-empty": Kind("warning", "masks without a labelled pixel", "label them, or move them elsewhere"),
    "zero-unlabelled": Kind(
        "warning",
        "the value 0 is in masks, but not in the class list; taken as unlabelled",
        "if 0 is a class, give it a name; ignore=0 says that it is none",
    ),
    # --- notes ----------------------------------------------------------------------------------------------------
    "class-rare": Kind(
        "note",
        "classes with less than 0.1 % of the labelled pixels of train: mIoU weighs them like the others",
        "if they matter, weigh their loss, or sample their images more often",
    ),
    "specks": Kind(
        "note",
        "classes that largely consist of specks, by number: areas that vanish at the scale of the training",
        "nothing to do if they are textures; else they are leftovers of drawing or of conversion",
    ),
    "image-modes": Kind("note", "images of different kinds", ""),
    "only-scored": Kind("note", "", "for a training, give a split train"),
    "overlap": Kind("note", "annotations that cover pixels of earlier ones: the later one counts", ""),
    "layout": Kind("note", "", ""),
    "split-drawn": Kind("note", "", "give the splits yourself if images of one scene or patient could be parted"),
}


class Findings(Collected):
    """What is found in a data set of label images."""

    kinds = KINDS
