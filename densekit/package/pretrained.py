"""Weights a backbone starts from: its own published ones, those of a file, or none, as the key ``pretrained`` says.

Nothing is downloaded unless that key asks for it. What torchvision or timm has to fetch, they fetch with their own code
into their own caches; if they cannot, one line says which file is missing and where to put it by hand.
"""

from __future__ import annotations

import http.client
import re
import socket
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from mmengine.config import ConfigDict
from torch import Tensor, nn

from densekit.config_tree import dotted, walk
from densekit.errors import CheckpointError, ConfigError, close_names, few
from densekit.package.checkpoint import read_weights
from densekit.package.transfer import PREFIXES, read_named_weights
from densekit.processes import main_first

TIMEOUT = 10
"""Seconds without an answer after which a download is given up."""
_TORCHVISION, _TIMM, _OPENMMLAB = "torchvision://", "timm/", ("open-mmlab://", "openmmlab://")
_PUBLISHED = ("Pretrained", "PretrainedInit")


# --- config -----------------------------------------------------------------------------------------------------------
def separate_backbone(config: Mapping[str, Any]) -> tuple[ConfigDict, str | None]:
    """Take the download out of a model config: MMEngine then initialises the backbone as one from scratch.

    Everything else that goes with published weights (frozen stages, batch norms in eval mode) stays.

    Args:
        config: A whole model config, as :func:`densekit.models.assemble.model_config` returns it.

    Returns:
        The config without the backbone's ``init_cfg`` or ``pretrained``; and what it named (``"torchvision://resnet50"``,
        ``"timm/resnet18"``, a path or a URL), for :func:`load_backbone`. None: the backbone names no weights.

    Raises:
        ConfigError: if another part than the backbone is to load weights by itself.
    """
    from densekit.models.assemble.parts import plain
    from densekit.models.frozen import frozen_config, without_shell

    config = ConfigDict(plain(config))
    backbone = ConfigDict(without_shell(config.get("backbone")) or {})
    source = None
    kind = str(backbone.get("type", "")).rpartition(".")[2]
    if kind == "TimmBackbone":
        given = backbone.get("pretrained", False)
        source = f"{_TIMM}{backbone.name}" if given is True else given or None
        backbone.update(pretrained=False, norm_eval=backbone.get("norm_eval", bool(given)))
    elif isinstance(backbone.get("pretrained"), str):  # how MMDetection 2 said it
        source = backbone.pop("pretrained")
    elif _checkpoint_of(backbone.get("init_cfg")) is not None:
        source = _checkpoint_of(backbone.pop("init_cfg"))
    elif kind == "ResNet" and "init_cfg" not in backbone and _is_torchvisions(backbone):
        source = f"{_TORCHVISION}resnet{backbone.depth}"
    if backbone:
        frozen = without_shell(config.backbone) is not config.backbone
        config["backbone"] = frozen_config(backbone) if frozen else backbone
    for place, init in walk(config, "model"):
        if place[-1] == "init_cfg" and (checkpoint := _checkpoint_of(init)) is not None:
            raise ConfigError(
                f"{dotted(place)} loads {checkpoint!r}: a training starts from what `pretrained` (backbone) or "
                f"`load_from` (whole model) says; give it there, and leave this init_cfg out"
            )
    return config, source


def _is_torchvisions(resnet: Mapping[str, Any]) -> bool:
    """Whether an MMDetection ResNet is the one that torchvision has weights for."""
    ours = {"style": "pytorch", "base_channels": 64, "in_channels": 3, "deep_stem": False, "avg_down": False}
    return "depth" in resnet and all(resnet.get(key, value) == value for key, value in ours.items())


def _checkpoint_of(init: Any) -> str | None:
    for one in init if isinstance(init, (list, tuple)) else [init]:
        if isinstance(one, Mapping) and str(one.get("type")).rpartition(".")[2] in _PUBLISHED:
            return one["checkpoint"]
    return None


# --- loading ----------------------------------------------------------------------------------------------------------
def load_backbone(model: nn.Module, pretrained: bool | str | Path, source: str | None = None) -> list[str]:
    """Load the weights that a detector's backbone starts from; call it after ``model.init_weights()``.

    With several processes all of them call it; the main one downloads first.

    Args:
        model: The detector; its ``backbone`` is changed in place.
        pretrained: True: the backbone's own published weights, ``source``. False: none. Else a file of weights (of the
            backbone alone or of a detector with it), ``"torchvision://resnet50"`` (also ``resnet50.imagenet1k_v2``), or
            timm's ``"timm/resnet50.a1_in1k"``.
        source: What :func:`separate_backbone` returned.

    Returns:
        Lines for the log.

    Raises:
        CheckpointError: if the weights are missing and cannot be downloaded, cannot be read as data, or are of another
            network.
        ConfigError: for a name that torchvision or timm does not have.
    """
    if pretrained is False:
        return ["backbone from scratch (pretrained=False)"]
    wanted = source if pretrained is True else str(pretrained)
    backbone = model.backbone
    if wanted is None:
        return [
            f"backbone from scratch: the config names no weights for {type(backbone).__name__} (pretrained=PATH starts "
            f"from a file)"
        ]
    own_kind = type(backbone).__name__ == "TimmBackbone"
    if own_kind and wanted.startswith(_TIMM):
        name = wanted.removeprefix(_TIMM)
        main_first(lambda: _from_timm(name, lambda: _into_timm(backbone, name, True)))
        return [f"backbone: weights of {wanted}"]
    weights, place = main_first(lambda: _fetch(wanted))
    target = backbone.network if own_kind else backbone
    found = _of_backbone(weights)
    if own_kind:
        found = {key.removeprefix("network."): value for key, value in found.items()}
    elif hasattr(backbone, "rename_official"):
        from densekit.models.backbones.image_backbone import fold_channels

        found = fold_channels(backbone.rename_official(found), backbone.state_dict())
    own = {key: value for key, value in target.state_dict().items() if isinstance(value, Tensor)}
    fitting = {key: value for key, value in found.items() if key in own and own[key].shape == value.shape}
    other = any(key in own and key in weights and key not in fitting for key in found)  # image channels, position table
    if own_kind and (other or 2 * len(fitting) < len(own)) and Path(place).is_file():  # timm knows what to do
        _into_timm(backbone, backbone.name, str(place))
        return [f"backbone: weights from {place}"]
    _check(fitting, found, own, f"{wanted}: {place}" if str(place) != wanted else wanted, type(backbone).__name__)
    target.load_state_dict(fitting, strict=False)
    return [_loaded_line(wanted, place, fitting, found, own)]


def _check(
    fitting: Mapping[str, Tensor], found: Mapping[str, Tensor], own: Mapping[str, Tensor], where: str, name: str
) -> None:
    """Refuse weights of which less than half of the backbone's tensors can be taken."""
    if 2 * len(fitting) >= len(own):
        return
    key = next((key for key in own if key in found and key not in fitting), None)
    example = f"its first is {next(iter(found))!r}, the backbone's {next(iter(own))!r}"
    if key is not None:
        example = f"its {key} is {tuple(found[key].shape)}, the backbone's {tuple(own[key].shape)}"
    raise CheckpointError(
        f"{where}: holds {len(fitting)} of the {len(own)} tensors of this {name} ({example}), so it is of another "
        f"network; give the weights of this one, or pretrained=False"
    )


def _loaded_line(
    wanted: str, place: Any, fitting: Mapping[str, Tensor], found: Mapping[str, Tensor], own: Mapping[str, Tensor]
) -> str:
    missing = [key for key in own if key not in fitting and not key.endswith("num_batches_tracked")]
    unused = [key for key in found if key not in fitting]
    line = f"backbone: {len(fitting)} of {len(own)} tensors from {wanted}"
    line += f" ({place})" if str(place) != wanted else ""
    for what, keys in (("not in it", missing), ("not used", unused)):
        if keys:
            line += f"; {what}: {few(keys, 4)}"
    return line


def _of_backbone(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone's part of a detector's weights, or all, without the prefixes of wrappers."""
    bare = {PREFIXES.sub("", key, count=1) if PREFIXES.match(key) else key: value for key, value in weights.items()}
    inner = {key.removeprefix("backbone."): value for key, value in bare.items() if key.startswith("backbone.")}
    return inner or bare


def _fetch(wanted: str) -> tuple[dict[str, Tensor], str | Path]:
    """Weights by their name, and where they were read."""
    url = ""
    if wanted.startswith(_TORCHVISION):
        url = _torchvision_url(wanted)
    elif wanted.startswith(_OPENMMLAB):
        url = _openmmlab_url(wanted)
    elif wanted.startswith(("http://", "https://")):
        url = wanted
    if url:
        path = _in_hub(wanted, url, shown=wanted.startswith(_TORCHVISION))
        return read_weights(path), path
    if wanted.startswith(_TIMM) and not Path(wanted).is_file():
        name = wanted.removeprefix(_TIMM)
        return _from_timm(name, lambda: _timm_weights(name)), wanted
    path = Path(wanted)
    if not path.is_file():
        raise CheckpointError(
            f"pretrained={wanted!r}: no such file{_meant(path)}; give a file, torchvision://resnet50 or "
            f"timm/resnet50.a1_in1k, True for the backbone's own weights, or False for none"
        )
    return read_named_weights(path).state_dict, path


def _meant(path: Path) -> str:
    import timm

    if timm.is_model(str(path)):
        return f"; did you mean {_TIMM}{path}?"
    return close_names(path.name, [p.name for p in path.parent.iterdir()]) if path.parent.is_dir() else ""


# --- torch.hub --------------------------------------------------------------------------------------------------------
def _torchvision_url(wanted: str) -> str:
    """URL of ``torchvision://MODEL`` (its first weights, as in MMDetection) or ``torchvision://MODEL.WEIGHTS``."""
    from torchvision.models import get_model_weights, list_models

    name, _, which = wanted.removeprefix(_TORCHVISION).lower().replace("_weights.", ".").partition(".")
    try:
        weights = get_model_weights(name)
    except ValueError as error:
        raise ConfigError(
            f"pretrained={wanted!r}: torchvision has no network {name!r}{close_names(name, list_models())}"
        ) from error
    members = {member.name.lower(): member for member in weights}
    chosen = members.get(which or "imagenet1k_v1", weights.DEFAULT if which in ("", "default") else None)
    if chosen is None:
        raise ConfigError(
            f"pretrained={wanted!r}: torchvision has no such weights of {name}; it has {', '.join(members)}"
        )
    return chosen.url


def _openmmlab_url(wanted: str) -> str:
    from mmengine.runner.checkpoint import get_external_models

    name, known = wanted.partition("://")[2], get_external_models()
    if name not in known:
        raise ConfigError(f"pretrained={wanted!r}: OpenMMLab has no weights {name!r}{close_names(name, known)}")
    return known[name]


def _in_hub(wanted: str, url: str, *, shown: bool) -> Path:
    """The file of a URL in torch.hub's cache, downloaded if it is not there; with ``shown`` an error names the URL."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(urllib.parse.urlparse(url).path).name
    if path.is_file():
        return path
    hashed = re.search(r"-([0-9a-f]{8,})\.", path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _short_timeout():
            torch.hub.download_url_to_file(url, str(path), hashed and hashed[1], progress=sys.stderr.isatty())
    except (OSError, http.client.HTTPException, RuntimeError) as error:  # RuntimeError: the hash is another
        source = f" from {url}" if shown else ""
        raise CheckpointError(
            f"{wanted}: {path.name} could not be downloaded ({_reason(error)}); fetch it{source} elsewhere and put it "
            f"into {path.parent}, or give its path as pretrained=PATH; pretrained=False starts from scratch"
        ) from error
    return path


@contextmanager
def _short_timeout() -> Iterator[None]:
    """torch.hub waits without end for a server that does not answer."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _reason(error: BaseException) -> str:
    if isinstance(error, CheckpointError) and error.__cause__ is not None:
        error = error.__cause__
    reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
    return " ".join(str(getattr(reason, "strerror", None) or reason).split()) or type(error).__name__


# --- timm -------------------------------------------------------------------------------------------------------------
def _timm_weights(name: str) -> dict[str, Tensor]:
    import timm

    with torch.random.fork_rng(devices=[]):  # a network is drawn before it is filled
        return timm.create_model(name, pretrained=True).state_dict()


def _into_timm(backbone: Any, name: str, pretrained: bool | str) -> None:
    """Let a :class:`~densekit.models.backbones.TimmBackbone` load weights by timm's own rules."""
    before = backbone.name, backbone.pretrained
    backbone.name, backbone.pretrained = name, pretrained
    try:
        with torch.random.fork_rng(devices=[]):
            backbone.init_weights()
    except RuntimeError as error:
        raise CheckpointError(
            f"{pretrained if isinstance(pretrained, str) else _TIMM + name}: is of another network than the backbone "
            f"{before[0]!r}; give weights of that one"
        ) from error
    finally:
        backbone.name, backbone.pretrained = before


def _from_timm(name: str, load: Callable[[], Any]) -> Any:
    """Call what has timm load its weights: from the cache, else after a look whether the hub answers.

    By itself timm tries two files six times each, which takes minutes where nothing answers.
    """
    import timm

    network = name.partition(".")[0]
    if not timm.is_model(network):
        known = [n for n in timm.list_models() if n[:3] == name[:3]]
        raise ConfigError(f"pretrained='{_TIMM}{name}': timm has no network of that name{close_names(network, known)}")
    known = timm.list_pretrained(f"{network}.*")
    config = timm.get_pretrained_cfg(name) if name in (network, *known) else None
    if config is None or not config.has_weights:
        has = f"it has {', '.join(known[:8])}" if known else "it has none for this network"
        raise ConfigError(f"pretrained='{_TIMM}{name}': timm has no such weights; {has}")
    try:
        with _offline_hub(), _short_timeout():
            return load()
    except Exception as error:
        if not _is_of_download(error):
            raise
    repository = config.hf_hub_id or name
    try:
        _ask(repository)
        with _short_timeout():
            return load()
    except Exception as error:
        if not _is_of_download(error):
            raise
        from huggingface_hub.constants import HF_HUB_CACHE

        raise CheckpointError(
            f"{_TIMM}{name}: model.safetensors of {repository} could not be downloaded from the Hugging Face hub "
            f"({_reason(error)}); fetch it elsewhere and give its path as pretrained=PATH, or copy the folder "
            f"models--{repository.replace('/', '--')} of another computer's cache into {HF_HUB_CACHE}; "
            f"pretrained=False starts from scratch"
        ) from error


@contextmanager
def _offline_hub() -> Iterator[None]:
    """Let the Hugging Face hub look into its cache only."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


def _ask(repository: str) -> None:
    """Raise OSError unless the hub answers, once and soon; that it refuses something is an answer."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        raise OSError("HF_HUB_OFFLINE is set")
    request = urllib.request.Request(f"{constants.ENDPOINT}/{repository}", method="HEAD")
    try:
        urllib.request.urlopen(request, timeout=TIMEOUT).close()
    except urllib.error.HTTPError:
        return


def _is_of_download(error: BaseException) -> bool:
    """Whether it is the network, or what the cache lacks; TimmBackbone hands such an error on as its own."""
    if isinstance(error, CheckpointError) and error.__cause__ is not None:
        return _is_of_download(error.__cause__)
    package = type(error).__module__.partition(".")[0]
    return isinstance(error, OSError) or package in ("httpx", "httpcore", "requests", "huggingface_hub")
