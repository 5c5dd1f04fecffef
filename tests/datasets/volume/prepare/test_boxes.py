"""Boxes as users have them, and that they bound on the prepared grid and in patches what they bound in the file."""

import json

import numpy as np
import pytest
import torch

from densekit.cli import main
from densekit.datasets.transforms import AnatomicalMirror, RandRotateScale
from densekit.datasets.volume.dataset import VolumeDataset, VolumePatchDataset
from densekit.datasets.volume.prepare import read_source
from densekit.datasets.volume.prepare.boxes import MODES, SourceBoxes, read_boxes
from densekit.datasets.volume.store import open_store, write_store
from densekit.errors import ConfigError, DataError
from densekit.io import Geometry, read_geometry, write_image

CASES = ["a", "b"]
SHAPE = (24, 20, 16)
"""Of the file's axes i, j, k."""
CUBOID = ((6, 5, 4), (14, 11, 8))
"""First and one past the last voxel of what is bright in it."""
DIRECTIONS = {
    "LPS": [[-1, 0, 0], [0, -1, 0], [0, 0, 1]],
    "RAS": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "AIR": [[0, 0, 1], [1, 0, 0], [0, -1, 0]],
}
SPACING = (0.8, 1.25, 2.0)


def geometry_of(directions):
    affine = np.eye(4)
    affine[:3, :3] = np.array(DIRECTIONS[directions]) * SPACING
    affine[:3, 3] = (12.5, -40.0, 7.0)
    return Geometry(SHAPE, affine)


def world_box(geometry):
    """Corners in LPS mm: the outer faces of the cuboid, half a voxel beyond its centres."""
    ends = np.array([[(*(np.array(corner) - 0.5), 1.0)] for corner in CUBOID])[:, 0] @ geometry.affine.T
    lps = ends[:, :3] * (-1, -1, 1)
    return [*lps.min(axis=0), *lps.max(axis=0)]


def given_as(mode, corners):
    low, high = np.array(corners[:3]), np.array(corners[3:])
    values = dict(zip(("x1", "y1", "z1"), low, strict=True)) | dict(zip(("x2", "y2", "z2"), high, strict=True))
    values |= dict(zip(("cx", "cy", "cz"), (low + high) / 2, strict=True))
    values |= dict(zip("whd", high - low, strict=True))
    return [float(values[name]) for name in MODES[mode]]


def put_scan(folder, case, geometry, border=0):
    """A dark scan with noise up to its border, but for some planes of its first axis, and a bright cuboid."""
    image = np.random.default_rng(ord(case)).integers(0, 20, SHAPE).astype(np.int16)
    image[:border] = 0
    image[tuple(slice(a, b) for a, b in zip(*CUBOID, strict=True))] = 1000
    (folder / "images").mkdir(parents=True, exist_ok=True)
    path = folder / "images" / f"{case}.nii.gz"
    write_image(path, geometry.to_canonical(image), geometry)
    assert read_geometry(path).orientation == geometry.orientation
    return path


def prepared(tmp_path, geometry, entry, mode, border=0, **options):
    raw = tmp_path / "raw"
    for case in CASES:
        put_scan(raw, case, geometry, border)
    entries = [{"image": f"x/{case}.nii.gz", **entry} for case in CASES]
    (raw / "boxes.json").write_text(json.dumps({"training": entries[:1], "validation": entries[1:], "name": "none"}))
    options = {"channels": ["CT"], "boxes": raw / "boxes.json", "box_mode": mode, **options}
    source = read_source("folder", raw, work=tmp_path, **options)
    return write_store(source, tmp_path / "store", spacing=(1.0, 1.0, 1.0)).path


def bounds(image):
    """First and one past the last bright voxel, as a box."""
    bright = np.argwhere(np.asarray(image) > 500)
    return np.concatenate([bright.min(axis=0), bright.max(axis=0) + 1])


@pytest.mark.parametrize("directions", DIRECTIONS)
@pytest.mark.parametrize("mode", ["cccwhd", "xxyyzz"])
def test_a_box_bounds_its_cuboid_whatever_the_grid(tmp_path, directions, mode):
    geometry = geometry_of(directions)
    entry = {"box": [given_as(mode, world_box(geometry))], "label": [0]}
    root = prepared(tmp_path, geometry, entry, (mode, "lps"), box_classes=["nodule"])
    store = open_store(root)
    assert store.box_classes == ("nodule",) and store.labels == ("background",)
    case = store.case("a")
    assert case.box_labels == ("nodule",) and case.label is None
    np.testing.assert_allclose(case.boxes[0], bounds(case.image[0]), atol=0.51)  # half a voxel of the new grid
    sides = np.diff(case.boxes[0].reshape(2, 3), axis=0)[0] * geometry.canonical_shape / case.shape
    sides_mm = sides * geometry.canonical_spacing
    np.testing.assert_allclose(sorted(sides_mm), sorted((b - a) * s for a, b, s in zip(*CUBOID, SPACING, strict=True)))


@pytest.mark.parametrize("directions", DIRECTIONS)
def test_spaces_agree_and_are_exact(directions):
    geometry = geometry_of(directions)
    world = np.array(world_box(geometry))
    ras = np.concatenate([-world[3:5], world[2:3], -world[:2], world[5:]])
    voxel = (*CUBOID[0], *CUBOID[1])
    for space, corners in (("lps", world), ("ras", ras), ("voxel", voxel)):
        boxes = SourceBoxes((tuple(corners),), ("x",), ("row",), space)
        assert boxes.problems(geometry) == []
        image = np.zeros(SHAPE)
        image[tuple(slice(a, b) for a, b in zip(*CUBOID, strict=True))] = 1000
        assert boxes.on_grid(geometry)[0].tolist() == bounds(geometry.to_canonical(image)).tolist()


def bright_in(sample):
    return bounds(sample["inputs"][0] * 500)  # normalised: 1000 lies far above the rest


def test_boxes_go_with_patches_mirrors_and_scalings(tmp_path):
    geometry = geometry_of("RAS")
    entry = {"box": [[*CUBOID[0], *CUBOID[1]]], "label": ["left nodule"]}
    root = prepared(tmp_path, geometry, entry, ("xyzxyz", "voxel"), box_classes=["left nodule", "right nodule"])
    patch = (12, 14, 16)
    swap = [("left nodule", "right nodule")]
    mirror = AnatomicalMirror(swap=swap, labels=("background", *swap[0]), box_classes=swap[0])
    scaling = RandRotateScale(patch, rotate_prob=0, scale_prob=0.5)
    for pipeline in ([], [mirror], [scaling, mirror]):
        data = VolumePatchDataset(root, "train", patch, pipeline, targets=("boxes",), foreground_ratio=1, seed=1)
        labels = set()
        for index in range(12):
            sample = data[index]
            of_case = sample["data_samples"]
            assert of_case["boxes"].shape == (1, 6) and of_case["boxes_known"]  # patches are centred on it
            smooth = 1.6 if scaling in pipeline else 0.51  # the spline's edge, enlarged
            np.testing.assert_allclose(of_case["boxes"][0], threshold(sample), atol=smooth)
            labels.add(int(of_case["box_labels"][0]))
        assert labels == ({0, 1} if pipeline else {0})
    assert data.metainfo["box_classes"] == swap[0]


def test_a_left_right_mirror_that_does_not_know_the_boxes_is_refused_before_it_is_drawn(tmp_path):
    names = ["left nodule", "right nodule"]
    entry = {"box": [[*CUBOID[0], *CUBOID[1]]], "label": [0]}
    root = prepared(tmp_path, geometry_of("RAS"), entry, ("xyzxyz", "voxel"), box_classes=names)

    def dataset(**mirror):
        pipeline = [{"type": "AnatomicalMirror", "labels": ["background"], **mirror}]
        return VolumePatchDataset(root, "train", (6, 6, 6), pipeline, targets=("boxes",))

    with pytest.raises(ConfigError, match=r"AnatomicalMirror needs .*; add box_classes=\['left nodule', 'right nod"):
        dataset()
    for goes in ({"axes": ["anterior-posterior"]}, {"relabel": False}):
        assert dataset(prob=1, **goes)[0]["data_samples"]["boxes_known"]


def threshold(sample):
    image = sample["inputs"][0]
    bright = np.argwhere(image.numpy() > float(image.min() + image.max()) / 2)
    return np.concatenate([bright.min(axis=0), bright.max(axis=0) + 1])


def test_a_rotated_box_encloses_its_cuboid():
    shape = (16, 20, 24)
    image = torch.zeros(1, *shape)
    image[0, 5:10, 8:12, 6:16] = 1
    transform = RandRotateScale(shape, rotate_prob=1, scale_prob=0)
    transform.set_random_state(3)
    for _ in range(8):
        found = transform({"inputs": image, "boxes": torch.tensor([[5.0, 8, 6, 10, 12, 16]])})
        box, bright = found["boxes"][0].numpy(), np.argwhere(found["inputs"][0].numpy() > 0.5)
        assert (bright.min(axis=0) >= box[:3] - 0.5).all() and (bright.max(axis=0) + 1 <= box[3:] + 0.5).all()


def test_a_box_whose_centre_is_outside_of_the_patch_is_not_in_it(tmp_path):
    root = prepared(
        tmp_path, geometry_of("RAS"), {"box": [[*CUBOID[0], *CUBOID[1]]], "label": [1]}, ("xyzxyz", "voxel")
    )
    data = VolumePatchDataset(root, "train", (6, 6, 6), targets=("boxes",), foreground_ratio=0)
    kinds = set()
    for index in range(40):
        boxes = data[index]["data_samples"]["boxes"]
        kinds.add(len(boxes))
        assert (boxes >= 0).all() and (boxes <= 6).all()
    assert kinds == {0, 1}
    whole = VolumeDataset(root, "val", targets=("boxes",))[0]
    np.testing.assert_allclose(whole["data_samples"]["boxes"][0], bounds(whole["inputs"][0]), atol=0.51)


def test_samples_of_label_maps_carry_no_boxes_and_foreign_transforms_are_refused(tmp_path):
    options = {"box_classes": ["x"], "channels": ["MR"]}
    root = prepared(tmp_path, geometry_of("RAS"), {"box": [], "label": []}, ("xyzxyz", "voxel"), **options)
    with pytest.raises(DataError, match="none of them with a label map"):
        VolumePatchDataset(root, "train", (6, 6, 6))
    flip = {"type": "RandFlipd", "keys": ("inputs",)}
    with pytest.raises(ConfigError, match="RandFlipd moves voxels and leaves boxes"):
        VolumePatchDataset(root, "train", (6, 6, 6), [flip], targets=("boxes",))
    sample = VolumePatchDataset(root, "train", (6, 6, 6), targets=("boxes",))[0]["data_samples"]
    assert sample["boxes"].shape == (0, 6) and sample["boxes_known"]


def test_the_command_line_prepares_boxes_and_checks_them(tmp_path, capsys):
    raw, out = tmp_path / "raw", tmp_path / "out"
    for case in CASES:
        put_scan(raw, case, geometry_of("LPS"))
    header = "case,class," + ",".join(f"{name}_voxel" for name in MODES["xyzxyz"])
    row = ",".join(map(str, (*CUBOID[0], *CUBOID[1])))
    (raw / "boxes.csv").write_text(f"{header}\na,cyst,{row}\nb,cyst,{row}\nb,stone,{row}\n")
    arguments = ["folder", str(raw), str(out), "--native", "--folds", "2"]
    assert main(["prepare", *arguments, "--boxes", str(raw / "boxes.csv"), "--box-classes", "stone", "cyst"]) == 0
    store = open_store(out, 0)
    assert store.box_classes == ("stone", "cyst") and store.case("b").box_labels == ("cyst", "stone")
    np.testing.assert_array_equal(store.case("b").boxes[0], bounds(store.case("b").image[0]))
    assert main(["check", str(out)]) == 0
    assert main(["prepare", *arguments, "--box-classes", "stone"]) == 2
    assert "give their file with --boxes=FILE" in capsys.readouterr().err


# --- files ------------------------------------------------------------------------------------------------------------
def read(tmp_path, text, mode=None, names=None, suffix="csv"):
    path = tmp_path / f"boxes.{suffix}"
    path.write_text(text)
    return read_boxes(path, mode, names, CASES)


def test_a_csv_says_what_its_columns_are(tmp_path):
    text = "case,class,w_ras,h_ras,d_ras,cx_ras,cy_ras,cz_ras,reader\na,cyst,2,4,6,10,20,30,me\nb,,,,,,,,me\n"
    boxes, classes, notes = read(tmp_path, text)
    assert boxes["a"].corners == ((9, 18, 27, 11, 22, 33),) and boxes["a"].space == "ras"
    assert boxes["b"].corners == () and classes == ("cyst",) and notes == []
    _, _, notes = read(tmp_path, text.replace("b,,", "a,,"))
    assert notes == ["boxes.csv does not name 1 case(s), whose boxes are not known: b"]


HEADER = "case,class,x1_lps,y1_lps,z1_lps,x2_lps,y2_lps,z2_lps\n"


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("z,x,0,0,0,1,1,1", r"boxes.csv, line 2: case 'z' is not in the data set"),
        ("a,x,0,0,0,1,1,nan", r"line 2, case a: the box is 0, 0, 0, 1, 1, nan; expected six numbers, x1, y1, z1, x2"),
        ("a,x,0,0,0,1,0,1", r"line 2, case a: .* of no extent along an axis"),
        ("a,x,0,0,0,1,1,", r"line 2, case a: .*expected six numbers"),
        ("a,,0,0,0,1,1,1", r"line 2: the class is ''; expected a name"),
    ],
)
def test_a_box_that_cannot_be_is_named_with_case_and_row(tmp_path, row, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, HEADER + row + "\n")


def test_what_is_not_said_is_asked_for(tmp_path):
    entry = json.dumps([{"image": "a.nii.gz", "box": [[0, 0, 0, 1, 1, 1]], "label": [0]}])
    with pytest.raises(ConfigError, match=r"add box_mode, `--box-mode cccwhd lps`"):
        read(tmp_path, entry, suffix="json")
    with pytest.raises(ConfigError, match="'mm' is not one of lps, ras, voxel"):
        read(tmp_path, entry, ("cccwhd", "mm"), suffix="json")
    with pytest.raises(ConfigError, match="says in its header"):
        read(tmp_path, HEADER, ("cccwhd", "lps"))
    with pytest.raises(DataError, match=r"line 1: the header is case, class, x1; expected case, class and six"):
        read(tmp_path, "case,class,x1\na,b,1\n")
    with pytest.raises(DataError, match=r"entry 0, box 0: the class is 7; expected one of x, or its number"):
        read(tmp_path, entry.replace("[0]}", "[7]}"), ("cccwhd", "lps"), ["x"], suffix="json")


@pytest.mark.parametrize(("one", "other"), [("a.nii.gz", "a.nii.gz"), ("a_0000.nii.gz", "x/a.nii.gz")])
def test_a_case_in_two_entries_of_a_json_is_refused(tmp_path, one, other):
    entries = [{"image": image, "box": [[0, 0, 0, 1, 1, 1]], "label": ["x"]} for image in (one, other)]
    mode = ("xyzxyz", "lps")
    with pytest.raises(DataError, match=r"boxes.json, entry 1: case 'a' is in entry 0 already; put all its boxes in"):
        read(tmp_path, json.dumps(entries), mode, suffix="json")
    sections = {"training": entries[:1], "validation": entries[1:]}
    with pytest.raises(DataError, match=r"validation entry 0: case 'a' is in training entry 0 already"):
        read(tmp_path, json.dumps(sections), mode, suffix="json")


def test_a_box_outside_of_the_scan_or_in_its_border_is_named(tmp_path):
    geometry = geometry_of("LPS")
    with pytest.raises(
        DataError, match=r"case a: .*entry 0, box 0: the box 30, 0, 0, 31, 1, 1 \(voxel.*0 to 24, 0 to 20"
    ):
        prepared(tmp_path, geometry, {"box": [[30, 0, 0, 31, 1, 1]], "label": [0]}, ("xyzxyz", "voxel"))
    boxes = SourceBoxes(((-5, 0, 0, 3, 2, 2),), ("x",), ("row",), "voxel")
    assert boxes.problems(geometry) == []  # what lies inside is kept
    assert boxes.on_grid(geometry)[0].tolist() == [0, 0, 0, 2, 2, 3]
    with pytest.raises(DataError, match=r"case a: .*entry 0, box 0: the box lies where the scan is constant"):
        prepared(tmp_path, geometry, {"box": [[0, 0, 0, 3, 9, 9]], "label": [0]}, ("xyzxyz", "voxel"), border=5)
