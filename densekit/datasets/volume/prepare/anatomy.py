"""A painted abdomen: shapes, attenuation and surroundings of the eight Synapse organs, for phantoms.

Coordinates are ``(left, posterior, superior)`` in mm of a reference patient, whose abdominal cavity is an ellipse of
120 x 82 mm half axes with its centre in front of the first lumbar vertebra. Attenuations are those of a portal-venous
CT.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from densekit.datasets.volume.prepare.encodings import BTCV_LABELS

CAVITY = (120.0, 82.0)
"""Half axes of the abdominal cavity, left-right and front-back, mm."""

WALL = 13.0
"""Thickness of the muscular wall around the cavity, mm."""

# Centre (left, posterior, superior) and radii of the ellipsoids whose smooth union is the organ.
_Parts = Sequence[tuple[tuple[float, float, float], tuple[float, float, float]]]
_LIVER: _Parts = (((-62, 6, 45), (50, 62, 56)), ((-76, 16, 10), (34, 46, 50)), ((-10, -40, 62), (46, 27, 27)))
_SPLEEN: _Parts = (((94, 36, 60), (24, 36, 38)), ((90, 14, 74), (20, 28, 22)))
_LEFT_KIDNEY: _Parts = (((47, 45, 8), (22, 21, 24)), ((52, 46, -14), (25, 23, 26)), ((57, 45, -36), (22, 21, 24)))
_RIGHT_KIDNEY: _Parts = (((-46, 45, -4), (22, 21, 24)), ((-51, 46, -26), (25, 23, 26)), ((-56, 45, -48), (22, 21, 24)))
_GALLBLADDER: _Parts = (((-46, -42, -6), (18, 20, 24)), ((-37, -31, 13), (11, 12, 14)))
_PANCREAS: _Parts = (
    ((-28, -2, -14), (15, 14, 17)),
    ((-18, -6, -4), (14, 12, 14)),
    ((-6, -13, 5), (12, 11, 12)),
    ((6, -15, 11), (12, 11, 12)),
    ((19, -12, 16), (13, 12, 13)),
    ((32, -5, 21), (13, 12, 13)),
    ((44, 4, 26), (13, 12, 13)),
    ((55, 12, 32), (12, 11, 13)),
)
_STOMACH: _Parts = (
    ((54, 4, 82), (30, 30, 24)),
    ((58, -20, 64), (29, 27, 26)),
    ((57, -40, 42), (26, 23, 26)),
    ((46, -52, 20), (24, 19, 23)),
    ((26, -55, 4), (21, 17, 19)),
    ((6, -50, -3), (16, 15, 16)),
)
_DUODENUM: _Parts = (
    ((-20, -30, -6), (12, 12, 12)),
    ((-44, -12, -10), (12, 12, 14)),
    ((-46, 4, -30), (11, 11, 16)),
    ((-30, 4, -46), (14, 11, 11)),
    ((-8, 2, -48), (14, 10, 11)),
)
_VALUE = {organ: value for value, organ in enumerate(BTCV_LABELS)}


class Abdomen:
    """One patient, painted on a grid.

    Args:
        position: ``(3, D, H, W)`` float32, reference coordinates (left, posterior, superior; mm) of every voxel.
        fat: Thickness of the fat beneath the skin, mm.
        rng: Where sizes, places, attenuations and gas come from.

    Attributes:
        hu: ``(D, H, W)`` float32, Hounsfield units, without noise.
        label: ``(D, H, W)`` uint8, raw BTCV ids of the eight Synapse organs.
    """

    def __init__(self, position: np.ndarray, fat: float, rng: np.random.Generator) -> None:
        self.position = position
        self.rng = rng
        x, y, z = position
        self.hu = np.full(x.shape, -1000.0, dtype=np.float32)
        self.label = np.zeros(x.shape, dtype=np.uint8)
        self._wall(x, y, z, fat)
        self.dome = self._diaphragm(x, y)
        self.cavity &= z < self.dome
        self.free = self.cavity.copy()  # where an organ may still be painted
        self._spine(x, y, z)
        self._vessels()
        self._organs()
        self._surroundings()

    def _wall(self, x: np.ndarray, y: np.ndarray, z: np.ndarray, fat: float) -> None:
        """Paint skin, fat, muscle and ribs, the cavity filled with fat, and the couch below the patient."""
        inner = _ellipse(x, y, *CAVITY)
        muscle = _ellipse(x, y, CAVITY[0] + WALL, CAVITY[1] + WALL)
        back = (np.abs(x) / 62) ** 4 + ((y - 84) / 30) ** 4 < 1  # the muscles beside the spine
        skin = _ellipse(x, y - 0.25 * fat, CAVITY[0] + WALL + fat, CAVITY[1] + WALL + 3 + fat)
        self.hu[skin < 1] = -105
        self.hu[(skin < 1) & (skin > 0.985)] = 20
        self.hu[(muscle < 1) | (back & (skin < 0.98))] = 58
        self.cavity = inner < 1
        self.hu[self.cavity] = -98
        phase = (z + 0.5 * y) / 27 + self.rng.uniform()
        ribbed = (z > 8 - 0.5 * y) & (np.abs(phase - np.round(phase)) < 0.22) & (np.abs(x) > 20)
        middle = (inner > 1) & (muscle < 0.985)
        self.hu[ribbed & middle] = self.rng.normal(330, 30)
        couch = CAVITY[1] + WALL + 10 + 1.3 * fat
        self.hu[(y > couch) & (y < couch + 8) & (skin > 1) & (np.abs(x) < 170)] = -180

    def _diaphragm(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Paint the lung bases and the heart above the two domes; return the height of the diaphragm, mm."""
        right = 108 - 52 * (((x + 58) / 85) ** 2 + (y / 95) ** 2)
        left = 104 - 52 * (((x - 58) / 85) ** 2 + (y / 95) ** 2)
        dome = np.maximum(right, left)
        z = self.position[2]
        self.hu[self.cavity & (z > dome - 4)] = 55
        lung = self.cavity & (z > dome)
        self.hu[lung] = self.rng.normal(-830, 20)
        where, heart = self._field((((22, -34, 122), (58, 40, 34)),))
        self.hu[where][(heart < 1) & lung[where]] = 140
        return dome - 4

    def _spine(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> None:
        """Paint vertebral bodies, discs, canal, arches, spinous processes and the psoas muscles."""
        body = np.hypot(x / 22, (y - 58) / 19)
        level = z / 33 + self.rng.uniform()
        disc = np.abs(level - np.round(level)) < 0.12
        column = body < 1
        self.hu[column] = self.rng.normal(190, 25)
        self.hu[column & (body > 0.86) & ~disc] = 430
        self.hu[column & disc] = 95
        canal = np.hypot(x / 11, (y - 84) / 8)
        self.hu[(canal < 1.45) & ~column] = 400
        self.hu[canal < 1] = 30
        process = (np.abs(x) < 4) & (y > 93) & (y < 116) & (np.abs(level - np.round(level)) > 0.2)
        self.hu[process & (self.hu > -500)] = 350
        self.free &= ~(body < 1.05)
        for side in (-1, 1):
            where, psoas = self._field((((side * 33, 58, -70), (16, 17, 60)),))
            inside = (psoas < 1) & self.free[where]
            self.hu[where][inside] = 60
            self.free[where] &= ~inside

    def _vessels(self) -> None:
        """Paint the aorta (labelled) and the inferior vena cava (not labelled, of like attenuation)."""
        rng = self.rng
        radius = rng.uniform(10.5, 12.5)
        bend = rng.uniform(-3, 3)
        heights = np.arange(-130.0, 150.0, 6.0)

        def centre(h: float) -> tuple[float, float, float]:
            left = 10 + bend * np.sin(h / 40) + 10 / (1 + np.exp((60 - h) / 12))
            return left, 23 + 12 / (1 + np.exp((65 - h) / 12)), h

        self.free |= self.position[2] > self.dome  # it goes on behind the diaphragm
        self._paint([(centre(h), 3 * (radius,)) for h in heights], rng.normal(160, 8), "aorta", jitter=False)
        self.free &= self.position[2] < self.dome
        cava = [((-20, 26 - 8 / (1 + np.exp((60 - h) / 15)), h), (12.0, 10.0, 12.0)) for h in heights]
        self._paint(cava, rng.normal(134, 6), jitter=False)

    def _organs(self) -> None:
        """Paint the organs; one painted earlier keeps its place, with a rim of fat where it lies in the cavity."""
        rng = self.rng
        for name, parts in (("left kidney", _LEFT_KIDNEY), ("right kidney", _RIGHT_KIDNEY)):
            centre = np.mean([c for c, _ in parts], axis=0)
            hilum = centre + (-26 if name[0] == "l" else 26, -3, 0)
            where, sinus = self._field(((tuple(hilum), (15, 9, 13)),))
            self.free[where] &= sinus > 1
            self._paint(parts, rng.normal(200, 8), name, core=rng.normal(168, 8))
            self.free[where] |= (sinus < 1) & (self.label[where] == 0) & self.cavity[where]
        self._paint(_GALLBLADDER, rng.normal(10, 4), "gallbladder", rim=1.0)
        self._paint(_SPLEEN, rng.normal(124, 5), "spleen")
        self._paint(_PANCREAS, rng.normal(94, 5), "pancreas")
        stomach = self._paint(_STOMACH, rng.normal(78, 5), "stomach", core=rng.normal(36, 8), wall=0.82)
        self._gas(stomach, rng.uniform(0.08, 0.3))
        self._paint(_LIVER, rng.normal(110, 5), "liver", rim=1.02)
        liver = self.label == _VALUE["liver"]
        for _ in range(6):  # hepatic and portal veins: brighter, and part of the liver
            start = np.array((-35, 5, 40)) + rng.normal(0, 8, 3)
            end = np.array((-75, 5, 45)) + rng.normal(0, (20, 32, 30))
            where, vein = self._field(
                [(tuple(start + t * (end - start)), (4.0, 4.0, 4.0)) for t in np.linspace(0, 1, 12)]
            )
            self.hu[where][(vein < 1) & liver[where]] += 28

    def _surroundings(self) -> None:
        """Paint what no label names: duodenum, colon with gas and stool, loops of small bowel."""
        rng = self.rng
        self._paint(_DUODENUM, rng.normal(48, 6))
        for parts in (
            [((-94, 6, h), (19, 20, 14)) for h in range(-120, -50, 12)],
            [((98, 22, h), (14, 15, 12)) for h in range(-120, 12, 12)],
        ):
            self._gas(self._paint(parts, rng.normal(55, 6), core=rng.normal(10, 25), wall=0.8), rng.uniform(0.1, 0.5))
        for _ in range(9):
            at = np.array((rng.uniform(-60, 75), rng.uniform(-55, -5), rng.uniform(-115, -55)))
            loop = []
            for _ in range(6):
                loop.append((tuple(at), 3 * (rng.uniform(11, 14),)))
                at = at + rng.normal(0, (11, 7, 6))
            self._gas(self._paint(loop, rng.normal(70, 8), core=rng.normal(35, 10), wall=0.75), rng.choice((0, 0, 0.3)))

    def _field(self, parts: _Parts, margin: float = 1.25) -> tuple[tuple[slice, slice, slice], np.ndarray]:
        """Return the box around a smooth union of ellipsoids, and a field in it: 1 on the surface, less inside."""
        centres, radii = (np.array(column, dtype=np.float32) for column in zip(*parts, strict=True))
        low, high = (centres - margin * radii).min(0), (centres + margin * radii).max(0)
        coarse = self.position[:, ::4, ::4, ::4]
        near = np.all((coarse > low[:, None, None, None] - 20) & (coarse < high[:, None, None, None] + 20), axis=0)
        where = tuple(
            slice(0, 0) if not near.any() else slice(max(4 * int(hit[0]) - 4, 0), 4 * int(hit[-1]) + 5)
            for hit in (np.flatnonzero(near.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3))
        )
        position = self.position[(slice(None), *where)]
        total = np.full(position.shape[1:], 1e-6, dtype=np.float32)
        for centre, radius in zip(centres, radii, strict=True):
            squared = sum(((position[i] - centre[i]) / radius[i]) ** 2 for i in range(3))
            total += np.maximum(squared, 1e-3) ** -4
        return where, total ** np.float32(-1 / 8)

    def _paint(
        self,
        parts: _Parts,
        hu: float,
        organ: str | None = None,
        *,
        core: float | None = None,
        wall: float = 0.7,
        rim: float = 1.07,
        jitter: bool = True,
    ) -> np.ndarray:
        """Paint an organ where there is room; return the mask ``(D, H, W)`` of its core (of the whole without one)."""
        if jitter:
            shift = np.clip(self.rng.normal(0, 3.0, 3), -6, 6)
            scale = self.rng.uniform(0.92, 1.08)
            centre = np.mean([c for c, _ in parts], axis=0)
            parts = [
                (tuple(centre + scale * (np.array(c) - centre) + shift), tuple(scale * np.array(r))) for c, r in parts
            ]
        where, field = self._field(parts)
        inside = (field < 1) & self.free[where]
        if organ is not None:
            inside = _largest_piece(inside)  # no scraps of liver behind the kidney
            self.label[where][inside] = _VALUE[organ]
        self.hu[where][inside] = hu
        content = inside if core is None else inside & (field < wall)
        if core is not None:
            self.hu[where][content] = core
        self.free[where] &= ~(field < rim)
        mask = np.zeros(self.free.shape, dtype=bool)
        mask[where] = content
        return mask

    def _gas(self, content: np.ndarray, share: float) -> None:
        """Fill the foremost ``share`` of a hollow organ with gas: the patient lies on the back."""
        if share > 0 and content.any():
            y = self.position[1]
            self.hu[content & (y < np.quantile(y[content], share))] = -880


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    from scipy.ndimage import label

    pieces, count = label(mask)
    return mask if count < 2 else pieces == 1 + np.bincount(pieces.reshape(-1))[1:].argmax()


def _ellipse(x: np.ndarray, y: np.ndarray, a: float, b: float) -> np.ndarray:
    """Return 1 on an ellipse with half axes ``a`` and ``b`` mm, a little squarer than a true one, less inside."""
    return ((np.abs(x) / a) ** 2.4 + (np.abs(y) / b) ** 2.4) ** (1 / 2.4)
