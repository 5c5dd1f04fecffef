from tests.datasets.segmentation.conftest import found, labels

XML = """<annotations><version>1.1</version><meta><task><labels>
<label><name>cell</name><color>#fa3253</color></label><label><name>vessel</name><color>#33ddff</color></label>
</labels></task></meta>{}</annotations>"""


def image(name, shapes, **more):
    attributes = "".join(f' {key}="{value}"' for key, value in more.items())
    return f'<image id="0" name="{name}" width="16" height="12"{attributes}>{shapes}</image>'


def test_shapes_are_drawn_by_their_z_order(maker):
    maker.image("images/a.png", "images/b.png")
    over = '<polygon label="vessel" points="4,0;10,0;10,12;4,12" z_order="1"/>'
    under = '<box label="cell" xtl="0" ytl="0" xbr="8" ybr="12" z_order="0"/>'
    mask = '<mask label="cell" rle="12,24,12" left="12" top="0" width="4" height="12" z_order="0"/>'
    line = '<polyline label="cell" points="1,1;2,2"/>'
    second = image("b.png", '<ellipse label="cell" cx="8" cy="6" rx="90" ry="90"/>', subset="Validation")
    maker.text("annotations.xml", XML.format(image("a.png", over + under + mask + line, subset="Train") + second))
    data = maker.prepare()
    assert data.format == "cvat" and data.classes == ("background", "cell", "vessel")
    assert data.colours == ((0, 0, 0), (250, 50, 83), (51, 221, 255))
    values = data.read_labels(data.splits["train"][0])
    assert values[0].tolist() == [1] * 4 + [2] * 6 + [0] * 6 and values[3:9, 12:].tolist() == [[1] * 4] * 6
    assert labels(data, "val") == [1]
    assert found(data)["overlap"] == ("note", 1) and found(data)["object-without-outline"] == ("warning", 1)


def test_a_class_that_is_not_listed_and_broken_run_lengths_are_said(maker):
    maker.image("a.png", "b.png")
    wrong = image("a.png", '<mask label="cell" rle="3,4" left="0" top="0" width="4" height="12"/>')
    other = image("b.png", '<box label="nerve" xtl="0" ytl="0" xbr="8" ybr="12"/>')
    maker.text("annotations.xml", XML.format(wrong + other))
    findings = {f.code: [e.where for e in f.examples] for f in maker.read().findings}
    first, second = findings["annotation-unreadable"]
    assert "run lengths of 7 pixels for 4 x 12" in first and "has the class 'nerve'" in second
