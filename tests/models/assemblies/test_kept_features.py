"""Maps of a frozen encoder on disk."""

import torch

from densekit.models.assemblies.kept_features import FeatureStore


class Encoder:
    """Counts how often it is asked."""

    calls = 0

    def __call__(self, inputs):
        self.calls += 1
        return [inputs * 2, inputs[..., ::2, ::2] / 3]


def test_maps_are_computed_once(tmp_path):
    encoder, store, images = Encoder(), FeatureStore(tmp_path / "new"), torch.randn(2, 3, 4, 6)
    first = store.maps(["a.png", "b.png"], images, encoder)
    again = store.maps(["b.png"], images[1:], encoder)
    assert encoder.calls == 1
    assert all(torch.equal(one[1:], other) for one, other in zip(first, again, strict=True))
    torch.testing.assert_close(first[0], images * 2, rtol=1e-3, atol=1e-3)


def test_another_name_or_size_is_another_image(tmp_path):
    encoder, store, images = Encoder(), FeatureStore(tmp_path), torch.randn(1, 3, 4, 6)
    store.maps(["a.png"], images, encoder)
    store.maps(["c.png"], images, encoder)
    store.maps(["a.png"], images[..., :4], encoder)
    assert encoder.calls == 3
