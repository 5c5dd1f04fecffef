"""The checks of ``densekit check`` for detection data, each with its severity and remedy, and what collects them.

A finding is an *error* if training or scoring would fail or be wrong in a way that nothing can put right, a *warning*
if it was put right (repairs say what was done) or is worth a look, and a *note* if it is only good to know.
"""

from __future__ import annotations

from densekit.datasets.shared.findings import Collected, Kind
from densekit.datasets.shared.leaks import LEAKS

# The order is the order of the report: what stops first, then repairs, then what to look at, then what to know.
KINDS: dict[str, Kind] = {
    # --- errors: the annotations do not fit the files, or one another ---------------------------------------------
    "image-missing": Kind(
        "error",
        "image files named by the annotations are not there",
        "put the files where the annotations say, or correct the names in the annotations",
    ),
    "image-unreadable": Kind(
        "error",
        "image files cannot be opened",
        "replace them, or remove them and their annotations",
    ),
    "image-size": Kind(
        "error",
        "width and height in the annotations are not those of the image (as it is shown, after EXIF rotation)",
        "the boxes would lie in the wrong places: export the annotations again for these very files "
        "(rotated photographs: save them upright first)",
    ),
    "image-ambiguous": Kind(
        "error",
        "names of images fit several files, so nobody knows whose the boxes are",
        "write the folder into the names (camA/1.jpg) or rename the files, or move those that are not meant elsewhere",
    ),
    "file-unreadable": Kind(
        "error",
        "annotation files cannot be read",
        "save text as UTF-8, export or fetch damaged files again; a file that is not meant is to be moved elsewhere",
    ),
    "split-empty": Kind(
        "error",
        "validation splits that are given but have no image",
        "complete the file or folder of the split, or remove it: then a validation split is drawn",
    ),
    "image-id-twice": Kind(
        "error",
        "image ids stand for two different files, so nobody knows whose the boxes are",
        "give each image an id of its own and export again",
    ),
    "category-id-twice": Kind(
        "error",
        "category ids stand for two different names",
        "give each category an id of its own and export again",
    ),
    "category-unknown": Kind(
        "error",
        "annotations have a class that the class list does not have",
        "complete the class list (COCO: categories, YOLO: names in data.yaml), or correct the annotations",
    ),
    "class-typo": Kind(
        "error",
        "class names differ by a typo between the splits: they would never be scored",
        "write the name the same way in all annotation files; if they are two classes, name them in the key classes",
    ),
    "annotation-missing": Kind(
        "error",
        "images of a split list have no annotation file",
        "add the file (one without objects for a background image), or remove the image from the list",
    ),
    "row-malformed": Kind(
        "error",
        "annotations cannot be read",
        "correct the lines; YOLO: class and four numbers, or class and at least three points, all from 0 to 1",
    ),
    "box-malformed": Kind(
        "error",
        "boxes are not four finite numbers",
        "export again; COCO: [x, y, width, height] in pixels",
    ),
    "box-format": Kind(
        "error",
        "boxes are in another format than their layout's",
        "convert them to their layout's and try again (COCO: [x, y, width, height] in pixels, VOC: [xmin, ymin, xmax, "
        "ymax] in pixels, YOLO: [x centre, y centre, width, height] as fractions); the report shows both readings",
    ),
    "mask-size": Kind(
        "error",
        "masks do not have the size of their image",
        "make each mask with the width and height of its image",
    ),
    "mask-values": Kind(
        "error",
        "mask files hold more than one object (more values than 0 and one other)",
        "write one PNG per object, 0 outside and 255 inside",
    ),
    "no-images": Kind("error", "no split has an image", "check the names of the splits and where the images lie"),
    "no-objects": Kind(
        "error",
        "training splits without an object",
        "check that the annotations belong to these images",
    ),
    # --- warnings: left out or filled in, which somebody should see to ----------------------------------------------
    "box-without-extent": Kind(
        "warning", "boxes of zero or negative width or height, left out", "draw them again, or delete them"
    ),
    "box-outside": Kind("warning", "boxes wholly outside their image, left out", "draw them again, or delete them"),
    "boxes-over-border": Kind(
        "warning",
        "a fifth of the boxes or more reach over the border of their image; clipped to it",
        "look at the pictures: are the boxes of these very images, at this size?",
    ),
    "box-impossible": Kind(
        "warning",
        "boxes far over the border of their image that would lie within it if read in another way, clipped to it",
        "correct these rows in the annotations",
    ),
    "outline-short": Kind(
        "warning",
        "outlines of fewer than three points, an odd number of values or no numbers, left out",
        "draw them again",
    ),
    "outline-missing": Kind(
        "warning",
        "objects without an outline, though others have one",
        "boxes train as they are; for masks (Mask R-CNN) outline every object",
    ),
    "mask-empty": Kind("warning", "mask files without an object, left out", "delete them"),
    "annotation-without-image": Kind(
        "warning",
        "annotations without an image of theirs, left out",
        "nothing to do if images were removed on purpose; else add the images",
    ),
    "link-dangling": Kind(
        "warning", "links to files that are not there, left out", "bring the files back, or delete them"
    ),
    "image-without-annotation": Kind(
        "warning",
        "images that no annotation file mentions, left out",
        "annotate them, or list them as images without objects",
    ),
    "image-without-label": Kind(
        "warning",
        "images without a label file, kept as background",
        "add label files if there are objects in them",
    ),
    # --- warnings: worth a look -----------------------------------------------------------------------------------
    **LEAKS,
    "image-truncated": Kind(
        "error",
        "image files that end too early: they cannot be read",
        "fetch the files again, or take them out of the annotations",
    ),
    "image-exif": Kind(
        "warning",
        "images that EXIF turns or mirrors; boxes are taken to be drawn on the upright image",
        "look at the thumbnails: if boxes are off, save the images upright and annotate them again",
    ),
    "image-16bit": Kind(
        "warning",
        "images of more than 8 bits, which are brought to 0-255",
        "if what matters lies in a part of that range, map it to 8 bits yourself",
    ),
    "class-alike": Kind(
        "warning",
        "class names that look like two spellings of one class",
        "make them one in the annotations, if they are one",
    ),
    "class-unused": Kind(
        "warning", "classes without a single object", "leave them out of the class list, or check that none is lost"
    ),
    "class-not-in-train": Kind(
        "warning", "classes that no training image shows: they cannot be learned", "move images of them to train"
    ),
    "class-rare": Kind(
        "warning", "classes with fewer than 10 objects to train on", "annotate more, or merge them with others"
    ),
    "class-not-in-val": Kind(
        "warning", "classes that no validation image shows: they get no score", "move images of them to val"
    ),
    "class-unlabelled": Kind(
        "warning",
        "classes that are frequent elsewhere but absent from a whole folder or split: labelled there?",
        "look at the images: objects that are not labelled are trained as background",
    ),
    "coco-names": Kind(
        "warning",
        "class names close to names of COCO, but not the same: a COCO checkpoint's row would not be reused",
        "write COCO's name if the same class is meant",
    ),
    "box-thin": Kind(
        "warning",
        "boxes thinner than one pixel; training leaves them out, scores count them",
        "draw them again, or delete them",
    ),
    "box-near-duplicate": Kind(
        "warning", "boxes of one class that nearly coincide (IoU above 0.9)", "delete one of each pair"
    ),
    "box-odd-shape": Kind("warning", "boxes more than 20 times as long as wide", "look at the images"),
    "box-odd-size": Kind("warning", "boxes far out of line with their class in size", "look at the images"),
    "box-outline-differ": Kind(
        "warning", "boxes that do not fit their outline", "compute the box from the outline, or draw it again"
    ),
    "outline-crosses": Kind(
        "warning",
        "outlines that cross themselves, so that their mask is another shape",
        "draw them again; parts of one object that lie apart need a polygon each",
    ),
    "objects-small": Kind(
        "warning",
        "boxes smaller than 8 pixels after the image is resized",
        "train and predict on tiles, or with a larger input size",
    ),
    "objects-many": Kind(
        "warning",
        "images with more than 100 objects, where detectors and COCO's AP stop by default",
        "raise model.test_cfg.max_per_img (two-stage: test_cfg.rcnn.max_per_img) and max_dets",
    ),
    "objects-memory": Kind(
        "warning",
        "images with more than 500 objects: matching them to anchors takes memory as objects times anchors",
        "train on tiles, or set gpu_assign_thr of the assigner",
    ),
    # --- notes ----------------------------------------------------------------------------------------------------
    "layout": Kind("note", "", ""),
    "only-scored": Kind("note", "", "for a training, give a split train"),
    "split-drawn": Kind("note", "", "give the splits yourself if images of one scene or patient could be parted"),
    "background": Kind("note", "images without an object, kept as background", ""),
    "box-inverted": Kind("note", "boxes with exchanged corners, put in order", ""),
    "box-from-outline": Kind("note", "boxes that were missing or without extent, taken from the outline", ""),
    "box-over-border": Kind("note", "boxes over the border of their image, clipped to it", ""),
    "box-duplicate": Kind("note", "boxes that are there twice (same image, class and place), one of each left out", ""),
    "image-twice": Kind("note", "images listed twice in a split, made one with all boxes", ""),
    "annotation-id-zero": Kind(
        "note",
        "annotation id 0, numbered anew from 1",
        "pycocotools on the original file takes a hit of id 0 for a miss, and AP comes out too low",
    ),
    "annotation-id-twice": Kind("note", "annotation ids used more than once, numbered anew", ""),
    "category-order": Kind(
        "note",
        "classes have another order or other ids in another split, matched by name",
        "tools that go by position would train and score on exchanged classes",
    ),
    "category-merged": Kind("note", "categories of the same name under several ids, made one", ""),
    "category-parent": Kind(
        "note", "categories that are only the supercategory of others and have no box, left out", ""
    ),
    "class-spelling": Kind("note", "class names that are spelt differently in another split, taken as one", ""),
    "name-spaces": Kind("note", "class names with spaces around them, removed", ""),
    "area-missing": Kind("note", "annotations without an area, computed from the outline or box", ""),
    "crowd-missing": Kind("note", "annotations without iscrowd, taken as single objects", ""),
    "size-missing": Kind("note", "images without width and height, taken from the file", ""),
    "image-modes": Kind(
        "note",
        "images of different kinds (grey, colour, palette, alpha); all are read as RGB",
        "",
    ),
    "crowd": Kind("note", "crowds and difficult objects, neither rewarded nor punished in training and scores", ""),
}


class Findings(Collected):
    """What is found in a data set of boxes."""

    kinds = KINDS
