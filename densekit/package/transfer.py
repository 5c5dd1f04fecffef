"""Starting a network from the weights of another: what fits is loaded, and class rows go to the classes of their name.

Which layers depend on the classes is found by building the same architecture for other class counts on PyTorch's meta
device and comparing shapes. How the rows of such a layer lie follows from its kind:

* a convolution over A anchors: ``anchor * (C + b) + class`` (MMDetection's dense heads view ``(B, A * (C + b), H, W)``
  as A times ``C + b``), with b = 1 where the last one is the background (SSD), else 0;
* a fully connected layer with k numbers per class: ``class * k + number`` (class-specific boxes of R-CNN), and with one
  per class ``class``, background last (its scores).

In a network of volumes the background is a class like the others, the first; its layers have one number per class.
"""

from __future__ import annotations

import difflib
import pickle
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from densekit.errors import CheckpointError, few
from densekit.package.checkpoint import read_weights, weights_in
from densekit.structures.class_names import by_name

PREFIXES = re.compile(r"(module\.|model\.|ema_model\.|ema_|_orig_mod\.)+")
"""What wrappers put before the names of a network's parameters."""
NEAR = 0.8
"""Similarity from which two class names are reported as perhaps meant to be the same."""
_SHOWN = 6


# --- reading ----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class NamedWeights:
    """Weights of a file, and the names of the classes they were trained for, if the file says them."""

    state_dict: dict[str, Tensor]
    classes: list[str] | None


class _Nothing:
    """Stands for whatever object of Python is in a file: takes any arguments and state, and does nothing."""

    def __init__(self, *_args: Any, **_options: Any) -> None: ...

    def __setstate__(self, state: Any) -> None: ...


def read_named_weights(path: str | Path) -> NamedWeights:
    """Read weights and class names, of a checkpoint of densekit, of MMDetection, or a safetensors file, as data.

    The records that MMEngine saves beside the weights of a training (``HistoryBuffer``, numpy arrays) are left out:
    what stands for them does nothing. No code of a file is run, nothing that it names is imported.

    Raises:
        CheckpointError: if the file is missing, cannot be read as data, or holds no weights.
    """
    path = Path(path)
    if path.suffix == ".safetensors" or not path.is_file():
        return NamedWeights(read_weights(path), None)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        content = _without_objects(path)
    # A few damaged bytes can end in any of a dozen types of error, struct.error and AssertionError among them: no list
    # of them would be whole. read_weights meets the same error and says it in one line.
    except Exception:
        content = read_weights(path)
    return NamedWeights(dict(weights_in(content, path)), _class_names(content))


def _without_objects(path: Path) -> Any:
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
        with torch.serialization.safe_globals([(_Nothing, name) for name in names]):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # as above; what is refused without the stand-ins is refused with its reason
        return read_weights(path)


def _class_names(content: Mapping[str, Any]) -> list[str] | None:
    own, meta = content.get("densekit"), content.get("meta")
    found: Any = None
    if isinstance(own, Mapping):
        found = own.get("labels")
    elif isinstance(meta, Mapping):
        described = meta.get("dataset_meta")
        places = [described, meta] if isinstance(described, Mapping) else [meta]
        found = next((place[key] for place in places for key in ("classes", "CLASSES") if key in place), None)
    if isinstance(found, str):  # MMDetection takes classes=('dog') for the name of its only class
        found = [found]
    if not isinstance(found, (list, tuple)) or not found or not all(isinstance(name, str) for name in found):
        return None
    return list(found)


# --- report -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class TransferReport:
    """What became of the weights of a file.

    Attributes:
        path: The file.
        loaded: Tensors of the model that were loaded whole.
        rows: Class layers of which some rows were loaded.
        fresh: Tensors of the model that keep their initialisation.
        unused: Tensors of the file that the model has no place for.
        kept: Classes that got the rows of the class of their name.
        new: Classes whose rows start fresh.
        dropped: Classes of the file that the model does not have.
        near: (class, class of the file) that may be meant to be the same.
        reason: Why no class could keep its rows, or ``""``.
    """

    path: Path
    loaded: tuple[str, ...]
    rows: tuple[str, ...]
    fresh: tuple[str, ...]
    unused: tuple[str, ...]
    kept: tuple[str, ...]
    new: tuple[str, ...]
    dropped: tuple[str, ...]
    near: tuple[tuple[str, str], ...]
    reason: str = ""

    def lines(self) -> list[str]:
        """One to three lines for the log."""
        number = len(self.loaded) + len(self.rows) + len(self.fresh)
        found = len(self.loaded) + len(self.rows)
        first = f"weights from {self.path}: {found} of {number} tensors loaded"
        if self.fresh:
            first += f", {len(self.fresh)} start fresh ({few(self.fresh, 3)})"
        if self.unused:
            first += f", {len(self.unused)} of the file not used ({few(self.unused, 3)})"
        if 2 * found < number:
            first += "; so few suggest that the file is of another architecture"
        lines = [first, self._classes()]
        if self.near:
            pairs = ", ".join(f"{own!r} (the file has {other!r})" for own, other in self.near[:_SHOWN])
            lines.append(f"not taken for the same class: {pairs}; rename one if it is, to keep what was learned")
        return lines

    def _classes(self) -> str:
        if self.reason:
            return f"classes: all {len(self.new)} start fresh: {self.reason}"
        if not self.new and not self.dropped:
            return f"classes: all {len(self.kept)} keep what was learned"
        parts = [
            f"{len(self.kept)} of {len(self.kept) + len(self.new)} keep what was learned ({few(self.kept, _SHOWN)})"
        ]
        parts += [f"new: {few(self.new, _SHOWN)}"] if self.new else []
        parts += [f"dropped: {few(self.dropped, _SHOWN)}"] if self.dropped else []
        return "classes: " + "; ".join(parts)


# --- transfer ---------------------------------------------------------------------------------------------------------
def start_from(
    model: nn.Module, path: str | Path, classes: Sequence[str], *, config: Mapping[str, Any]
) -> TransferReport:
    """:func:`transfer_weights` from a file, with the class names that it says."""
    weights = read_named_weights(path)
    return transfer_weights(
        model, weights.state_dict, config=config, own_classes=classes, other_classes=weights.classes, path=path
    )


@torch.no_grad()
def transfer_weights(
    model: nn.Module,
    state_dict: Mapping[str, Tensor],
    *,
    config: Mapping[str, Any],
    own_classes: Sequence[str],
    other_classes: Sequence[str] | None,
    path: str | Path,
) -> TransferReport:
    """Load what fits into a network; of layers that depend on the classes, the rows of classes of the same name.

    Names are compared without regard to case, else exactly: ``cat`` and ``Cat`` are one class, ``cat`` and ``cats`` are
    not. The background of a softmax counts as a class that both have.

    Args:
        model: MMDetection detector or segmentor of volumes, initialised: what is not loaded stays as it is.
        state_dict: Weights, also with the prefixes of wrappers (``module.``, ``model.``, ``ema_``).
        config: The config that the model was built from, with its ``type``.
        own_classes: Class names of the model by label.
        other_classes: Those of the weights; None if they are not known: then no class keeps its rows.
        path: Of the weights, for messages.

    Raises:
        CheckpointError: if nothing fits.
    """
    path, own = Path(path), {k: v for k, v in model.state_dict().items() if isinstance(v, Tensor)}
    found, unused = _by_own_name(_renamed(model, state_dict), own)
    layers = _class_layers(model, own, config, len(own_classes))
    pairs = match_classes(own_classes, other_classes or [])
    same = len(pairs) == len(own_classes) == len(other_classes or []) and all(i == j for i, j in pairs)
    loaded, rows, fresh = [], [], []
    for name, target in own.items():
        value = found.get(name)
        if value is None:
            fresh.append(name)
        elif value.shape == target.shape and (name not in layers or same):
            target.copy_(value)
            loaded.append(name)
        elif pairs and name in layers and (moves := layers[name].moves(value, target, pairs, len(other_classes))):
            into, out_of = (torch.tensor(side, device=target.device) for side in zip(*moves, strict=True))
            chosen = value.to(target).index_select(layers[name].dim, out_of)
            if (other := layers[name].from_dim) is not None:  # what a class takes from new classes says nothing yet
                chosen = chosen.index_select(other, out_of)
                chosen = target.new_zeros(chosen.shape[:other] + target.shape[other:]).index_copy(other, into, chosen)
            target.index_copy_(layers[name].dim, into, chosen)
            rows.append(name)
        else:
            fresh.append(name)
    if not loaded and not rows:
        raise CheckpointError(_nothing_fits(path, model, own, state_dict))
    carried = any(name in layers for name in (*loaded, *rows))
    kept = {i for i, _ in pairs} if carried else set()
    taken = {j for i, j in pairs if i in kept}
    new = [name for i, name in enumerate(own_classes) if i not in kept]
    dropped = [name for j, name in enumerate(other_classes or []) if j not in taken]
    return TransferReport(
        path=path,
        loaded=tuple(loaded),
        rows=tuple(rows),
        fresh=tuple(fresh),
        unused=tuple(unused + [name for name in fresh if name in found]),
        kept=tuple(own_classes[i] for i in sorted(kept)),
        new=tuple(new),
        dropped=tuple(dropped),
        near=tuple(_near(new, dropped)),
        reason="" if carried else _why(other_classes, pairs),
    )


def match_classes(own: Sequence[str], other: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of places ``(in own, in other)`` of the same name, see :mod:`densekit.structures.class_names`."""
    return sorted((list(own).index(name), list(other).index(given)) for given, name in by_name(own, other).items())


def _near(new: Sequence[str], dropped: Sequence[str]) -> list[tuple[str, str]]:
    lowered = {name.casefold(): name for name in dropped}
    closest = ((name, difflib.get_close_matches(name.casefold(), lowered, n=1, cutoff=NEAR)) for name in new)
    return [(name, lowered[match[0]]) for name, match in closest if match]


def _why(other_classes: Sequence[str] | None, pairs: Sequence[tuple[int, int]]) -> str:
    if other_classes is None:
        return "the file does not say which classes it was trained for"
    if not pairs:
        return f"none of them is among the file's {len(other_classes)} ({few(other_classes, _SHOWN)})"
    return "the file has no class layer that fits this head"


# --- names of parameters ----------------------------------------------------------------------------------------------
def _renamed(model: nn.Module, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights by the names that the model's parts have for those of published files."""
    named = dict(state_dict)
    for part, module in model.named_children():
        rename, start = getattr(module, "rename_official", None), f"{part}."
        given = {key.removeprefix(start): value for key, value in named.items() if key.startswith(start)}
        own = module.state_dict()
        if rename is None or 2 * sum(key in given for key in own) >= len(own):
            continue
        named = {key: value for key, value in named.items() if not key.startswith(start)}
        named |= {f"{start}{key}": value for key, value in rename(given).items()}
    return named


def _by_own_name(state_dict: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """The weights by the model's names, prefixes taken off, and the names of those it has no place for."""
    # mmcv's moving averages have names without dots: ema_backbone_conv1_weight.
    undotted = {name.replace(".", "_"): name for name in own}
    found: dict[str, Tensor] = {}
    unused = []
    for key in sorted(state_dict, key=lambda key: key not in own):  # a name as it is goes before one with a prefix
        bare = key if key in own else PREFIXES.sub("", key, count=1) if PREFIXES.match(key) else key
        bare = bare.replace("_orig_mod.", "")
        name = bare if bare in own else undotted.get(bare) if key.startswith("ema_") else None
        if name is None or name in found:
            unused.append(key)
        else:
            found[name] = state_dict[key]
    return found, unused


def _nothing_fits(path: Path, model: nn.Module, own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    name = type(model).__name__
    if any(f"backbone.{key}" in own and own[f"backbone.{key}"].shape == v.shape for key, v in given.items()):
        return f"{path}: holds the weights of a backbone alone, not of a {name}; give it as pretrained={str(path)!r}"
    return (
        f"{path}: none of its {len(given)} tensors fits {name} as configured (its first is {next(iter(given))!r}, the "
        f"model's {next(iter(own))!r}); give weights of the same kind of network"
    )


# --- class layers -----------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _ClassLayer:
    """A tensor that has, along ``dim``, so many entries per class and so many besides.

    Attributes:
        dim: The dimension that depends on the classes.
        per_class: Its growth with one class more; 0 if it grows in another way.
        besides: What it has without any class.
        anchors: Whether the entries of one anchor lie together, not those of one class.
        from_dim: The dimension of the classes that a layer from classes to classes takes from, else None.
    """

    dim: int
    per_class: int
    besides: int
    anchors: bool
    from_dim: int | None = None

    def moves(
        self, value: Tensor, target: Tensor, pairs: Sequence[tuple[int, int]], others: int
    ) -> list[tuple[int, int]]:
        """Places ``(in target, in value)`` of the rows of the paired classes; none if the layer does not fit.

        Args:
            value: Tensor of the file, trained for ``others`` classes.
            target: Tensor of the model.
            pairs: Of :func:`match_classes`.
            others: Number of classes of the file.
        """
        dim = self.dim
        if not self.per_class:
            return []
        fits = value.dim() == target.dim() and value.shape[dim] == self.per_class * others + self.besides
        rest = [d for d in range(target.dim()) if d not in (dim, self.from_dim)]
        fits &= self.from_dim is None or value.shape[self.from_dim] == others
        if not fits or any(value.shape[d] != target.shape[d] for d in rest):
            return []
        k, background = self.per_class, self.besides // self.per_class
        if self.besides != k * background or background > 1 or (k > 1 and not self.anchors and background):
            return []  # a layout that is not known, such as YOLO's with boxes, objectness and classes in one layer
        if k > 1 and not self.anchors:
            return [(i * k + n, j * k + n) for i, j in pairs for n in range(k)]
        own, other = target.shape[dim] // k, value.shape[dim] // k
        both = [*pairs, *([(own - 1, other - 1)] if background else [])]
        return [(a * own + i, a * other + j) for a in range(k) for i, j in both]


def _class_layers(
    model: nn.Module, own: Mapping[str, Tensor], config: Mapping[str, Any], classes: int
) -> dict[str, _ClassLayer]:
    """The tensors of a model whose shape depends on the number of classes.

    With one class some heads differ in more than their size, so the counts compared are larger than the model's.
    """
    volumes = getattr(model, "spatial_dims", 2) == 3
    scope = "densekit" if volumes else getattr(model, "default_scope", "mmdet")
    one, two = (_shapes(config, classes + more, scope=scope) for more in (1, 2))
    layers = {}
    for name, tensor in own.items():
        if name not in one or one[name] == two.get(name):
            continue
        changed = [d for d, (a, b) in enumerate(zip(one[name], two[name], strict=True)) if a != b]
        owner = model.get_submodule(name.rpartition(".")[0])
        if len(changed) == 2 and one[name][changed[0]] == one[name][changed[1]] == classes + 1:
            ends, starts = reversed(changed) if isinstance(owner, nn.modules.conv._ConvTransposeNd) else changed
            layers[name] = _ClassLayer(ends, 1, 0, anchors=False, from_dim=starts)
            continue
        dim = changed[0]
        per_class = two[name][dim] - one[name][dim]
        besides = one[name][dim] - per_class * (classes + 1)
        if len(changed) > 1 or tensor.shape[dim] != per_class * classes + besides:
            per_class, besides = 0, 0
        layers[name] = _ClassLayer(dim, per_class, besides, anchors=isinstance(owner, nn.modules.conv._ConvNd))
    return layers


def _shapes(config: Mapping[str, Any], classes: int, *, scope: str) -> dict[str, tuple[int, ...]]:
    """Shapes of a model's tensors for another number of classes, without memory for them."""
    from densekit.models.assemble import model_config
    from densekit.models.on_meta import on_meta
    from densekit.registry import MODELS as registry

    if scope == "densekit":  # the configs of volumes name the counts of their parts
        config = {
            name: {k: v for k, v in part.items() if k != "num_classes"} if isinstance(part, Mapping) else part
            for name, part in config.items()
        }
    if scope == "mmdet":
        from mmdet.registry import MODELS as registry
    with on_meta(), DefaultScope.overwrite_default_scope(scope):
        model = registry.build(model_config(config, classes))
    return {name: tuple(v.shape) for name, v in model.state_dict().items() if isinstance(v, Tensor)}
