"""What a trained model is on disk: weights as data, and everything needed to predict with them."""

from densekit.package.checkpoint import Checkpoint, load_checkpoint, load_weights, read_weights, write_checkpoint

__all__ = ["Checkpoint", "load_checkpoint", "load_weights", "read_weights", "write_checkpoint"]
