"""MONAI's segmentation networks as parts of a densekit model."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from densekit.errors import ConfigError, close_names
from densekit.models.contract import per_axis
from densekit.models.layers.patch import pad_to_multiple
from densekit.registry import MODELS

NETWORKS = ("DynUNet", "SegResNet", "SwinUNETR", "UNETR", "UNet")
_GIVEN = ("self", "spatial_dims", "in_channels", "out_channels")


@MODELS.register_module()
class MonaiNetwork(nn.Module):
    """One of MONAI's 3D segmentation networks, image to logits; goes with :class:`densekit.models.heads.LogitsHead`.

    Any input size will do: it is padded with zeros at the end of its axes to what the network can halve, and the head
    crops its logits. Only UNETR, whose position table has one entry per patch, takes exactly ``args["img_size"]``.

    Args:
        name: ``"UNet"``, ``"DynUNet"``, ``"SegResNet"``, ``"UNETR"`` or ``"SwinUNETR"``.
        in_channels: Channels of the volume.
        num_classes: Number of classes K, background included.
        args: The network's own arguments, by MONAI's names, without ``spatial_dims``, ``in_channels`` and
            ``out_channels``.

    Raises:
        ConfigError: for an unknown name, unknown or missing arguments, or values that MONAI refuses.

    Attributes:
        size_multiple: What the input is padded to a multiple of (D, H, W).
        fixed_size: The only input size (D, H, W) the network takes, or None if it takes any.
    """

    spatial_dims = 3

    def __init__(
        self, name: str, in_channels: int = 1, num_classes: int = 14, *, args: Mapping[str, Any] | None = None
    ):
        super().__init__()
        args = dict(args or {})
        network = _network_class(name)
        _check_arguments(name, network, args)
        try:
            self.network = network(spatial_dims=3, in_channels=in_channels, out_channels=num_classes, **args)
        except ImportError as error:
            raise ConfigError(
                f"MonaiNetwork(name={name!r}) needs the package {error.name}: pip install {error.name}"
            ) from error
        except (ValueError, TypeError, IndexError, KeyError, AssertionError) as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"MonaiNetwork(name={name!r}): MONAI refuses these args: {reason}") from error
        self.name = name
        self.in_channels = in_channels
        self.num_classes = num_classes
        self.out_channels = (num_classes,)
        self.out_strides = ((1, 1, 1),)
        self.size_multiple = _size_multiple(name, args)
        self.fixed_size = per_axis(args["img_size"], 3) if name == "UNETR" else None

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Compute logits.

        Args:
            x: Volume ``(B, C, D, H, W)``.

        Returns:
            ``(logits,)``, each ``(B, K, D', H', W')`` of the padded size; from a DynUNet with deep supervision in
            training its further outputs after it, which MONAI enlarges to the same size.

        Raises:
            ConfigError: if a UNETR is given another size than it was built for.
        """
        if self.fixed_size and tuple(x.shape[2:]) != self.fixed_size:
            raise ConfigError(
                f"UNETR was built for img_size={self.fixed_size} and got {tuple(x.shape[2:])}; its position table fits "
                f"one size, so set patch_size, inference window and img_size to the same (D, H, W)"
            )
        logits = self.network(pad_to_multiple(x, self.size_multiple))
        return logits.unbind(1) if logits.ndim == 6 else (logits,)


def _network_class(name: str) -> type[nn.Module]:
    if name not in NETWORKS:
        raise ConfigError(
            f"MonaiNetwork.name={name!r}: expected one of {', '.join(NETWORKS)}{close_names(name, NETWORKS)}"
        )
    from monai.networks import nets

    return getattr(nets, name)


def _check_arguments(name: str, network: type[nn.Module], args: Mapping[str, Any]) -> None:
    known = {k: p for k, p in inspect.signature(network.__init__).parameters.items() if k not in _GIVEN}
    for key in args:
        if key not in known:
            also = f" ({key} is set by MonaiNetwork itself)" if key in _GIVEN else ""
            raise ConfigError(f"MonaiNetwork.args: {name} takes no {key!r}{also}{close_names(key, known)}")
    missing = [key for key, parameter in known.items() if parameter.default is parameter.empty and key not in args]
    if missing:
        raise ConfigError(f"MonaiNetwork.args: {name} also needs {', '.join(missing)}")


def _size_multiple(name: str, args: Mapping[str, Any]) -> tuple[int, int, int]:
    """What the input size must be a multiple of, so that every halving inside the network comes out even."""
    if name in ("UNet", "DynUNet"):
        strides = [per_axis(stride, 3) for stride in args["strides"]]
        return tuple(math.prod(axis) for axis in zip(*strides, strict=True))
    if name == "SegResNet":
        return per_axis(2 ** (len(args.get("blocks_down", (1, 2, 2, 4))) - 1), 3)
    return per_axis(args.get("patch_size", 2) ** 5, 3) if name == "SwinUNETR" else (1, 1, 1)
