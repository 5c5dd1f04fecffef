"""What a run tells its user: lines for the log, pictures while it trains, a report when it is done."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook

from densekit.engine.hooks.checkpoint import BestAndLastHook
from densekit.engine.plan import RAMP, Plan


class RunReport:
    """The words of a run; a task overrides what it has to say.

    Args:
        plan: The config with its data.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def describe(self) -> list[str]:
        """What the run is about, in a few lines for the log."""
        c, plan = self.plan.config, self.plan
        lines = [f"batch {c.batch_size}, {c.max_epochs} epochs of {plan.iterations_per_epoch} iterations"]
        return lines if plan.validates else [*lines, "no validation: best.pth will be the last epoch"]

    def averaged(self) -> list[str]:
        """Which weights are validated and kept, if there are two kinds."""
        c = self.plan.config
        if c.ema is None:
            return []
        length, run = round(1 / c.ema), self.plan.iterations_per_epoch * c.max_epochs
        lines = [
            f"what is validated and written to best.pth is a moving average of the weights (ema={c.ema:g}: over about "
            f"{length:,} iterations, and at first over a tenth of those done)"
        ]
        if 3 * length > run:
            lines.append(
                f"the average of {length:,} iterations is longer than a third of the run ({run:,}): at its end it is "
                f"over about {min(length, max(1, run // RAMP)):,}; ema={min(0.5, 3 / run):.2g} suits such a run, "
                f"ema=None takes the weights as they are"
            )
        return lines

    def cautions(self) -> list[str]:
        """What is allowed and yet may not be meant."""
        return []

    @staticmethod
    def kept(runner: Any) -> str:
        """Which epoch best.pth is of, and its score, in words."""
        return next(hook for hook in runner.hooks if isinstance(hook, BestAndLastHook)).kept()

    def derived(self) -> dict[str, str]:
        """What was derived from what, by key of :meth:`Plan.resolved`."""
        return {}

    def hooks(self) -> list[Hook]:
        """Hooks that draw at every validation."""
        return []

    def untried(self) -> list[str]:
        """What a dry run leaves out, in words."""
        return []

    def before_training(self, runner: Any) -> list[str]:
        """Called in the main process when the Runner stands; returns lines for the log."""
        del runner
        return []

    def after_training(self, runner: Any, minutes: float) -> list[str]:
        """Called in the main process when the last epoch is done; returns lines for the log."""
        del runner, minutes
        return []
