"""Connected areas of all classes at once are those of each mask by itself."""

import cv2
import numpy as np

from densekit.evaluation.segmentation.areas import areas_by_run


def test_areas_are_the_connected_components_of_each_mask():
    generator = np.random.default_rng(0)
    for shape in ((1, 1), (1, 9), (9, 1), (30, 40)):
        labels = generator.integers(0, 3, shape).astype(np.uint8)
        starts, area = areas_by_run(labels)
        whole = np.repeat(area, np.diff(starts, append=labels.size)).reshape(shape)
        seen = 0
        for label in np.unique(labels):
            number, components = cv2.connectedComponents((labels == label).astype(np.uint8), connectivity=8)
            for component in range(1, number):
                (values,) = {tuple(np.unique(whole[components == component]))}
                assert len(values) == 1 and (whole == values[0]).sum() == (components == component).sum()
            seen += number - 1
        assert area.max() + 1 == seen
