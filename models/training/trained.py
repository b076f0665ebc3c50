"""A run's net as it was trained: built anew, with the weights that the run's folder keeps."""

from __future__ import annotations

from sweeper.models.data.dataset import Dataset
from sweeper.models.errors import UserError
from sweeper.models.method import Method
from sweeper.models.training import checkpoint
from sweeper.models.training.run import Order, built


def trained(order: Order) -> tuple[Method, Dataset]:
    """Return a run's method in evaluation mode, and the dataset as its encoders want it.

    Its weights are those that it kept or, of a run that has left, those that it goes on with. Raises UserError if its
    folder holds none, or some that do not fit.
    """
    weights = checkpoint.load(order.folder / "best.pt")
    if weights is None:
        weights = (checkpoint.load(order.folder / "checkpoint.pt") or {}).get("method")
    if weights is None:
        raise UserError(f"{str(order.folder)!r} holds no weights; a study keeps them by `checkpoints: best`")
    method, dataset = built(order)
    try:
        method.load_state_dict(weights)
    except RuntimeError:
        raise UserError("the stored weights do not fit the net, so its code has changed since") from None
    return method.eval(), dataset
