"""A method that does nothing for a while: training of known length, which leaves the cores to the orchestration."""

from __future__ import annotations

import time

from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.tasks.base import Task
from sweeper.models.values import Context


class Nap(Method):
    """Joint training whose every epoch begins with `seconds` of sleep."""

    def __init__(self, net: Net, task: Task, *, seconds: float = 1.0) -> None:
        super().__init__(net, task)
        self.seconds = seconds

    def on_epoch_start(self, ctx: Context) -> None:
        """Sleep."""
        time.sleep(self.seconds)
