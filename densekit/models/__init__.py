"""Networks. Importing this package registers every part in :data:`densekit.registry.MODELS`."""

from densekit.models import assemblies, backbones, frozen, heads, losses, necks

__all__ = ["assemblies", "backbones", "frozen", "heads", "losses", "necks"]
