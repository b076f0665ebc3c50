"""Diagnosing and re-learning: encoders whose features separate held-out rows worse go back towards where they began."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor, nn

from sweeper.models import parallel
from sweeper.models.maths.modes import measuring
from sweeper.models.maths.presence import present_in
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.schema.ranges import NonNegative, ShareWithin, Whole
from sweeper.models.tasks.base import Task
from sweeper.models.values import Batch, Context, pooled

STARTS = 10  # of k-means, of which the best counts


class Relearning(Method):
    """Joint training; now and then θ_m ← w_m θ_m⁰ + (1 - w_m) θ_m for all parameters θ_m of each encoder.

    θ_m⁰ are the initial values, w_m = tanh(`strength` |P_m - Q_m|). P_m is the purity of k-means clusters, as many as
    classes, of m's features (N, D_m) of the training rows: the share of rows that are of their cluster's most frequent
    class; Q_m is that of the rows held out, a share `held_out_fraction` of the training split. Features are pooled,
    taken in evaluation mode and brought to [-1, 1] in each dimension by the least and greatest value of their set. Rows
    that lack m are left out. Fusion and head, statistics of batch norm and the optimiser's momentum stay.

    That comes before the epochs whose number is a multiple of `period`, a share of the run's epochs, rounded to one at
    least, and at most `count` times; the default is 20 of 90 epochs, as published. Neutral: `count` 0 holds out no rows
    and is joint training to the bit; `strength` 0 is joint training on the rows that are left. The fusion may be any.
    Logs `purity/<modality>`, `held_out_purity/<modality>` and `relearned/<modality>`, w_m, where it happens.

    Source: Wei, Li, Feng and Hu, ECCV 2024, section 3, and its published program. Deviations from that program: it
    takes training features under augmentation and the held-out ones from the split that it selects by; k-means starts
    once there, and from 10 draws here, of which the best counts.
    """

    def __init__(
        self,
        net: Net,
        task: Task,
        *,
        strength: NonNegative = 3.0,
        period: ShareWithin = 0.22,
        count: Whole = 3,
        held_out_fraction: ShareWithin = 0.1,
    ) -> None:
        super().__init__(net, task)
        self.strength, self.period, self.count = strength, period, count
        self.held_out = held_out_fraction if count else 0.0
        self.initial = copy.deepcopy(net.encoders).requires_grad_(False)

    def on_epoch_start(self, ctx: Context) -> None:
        """Where it is time, move each encoder towards where it began."""
        period = max(1, round(self.period * ctx.epochs))
        if ctx.epoch % period or not 0 < ctx.epoch <= self.count * period:
            return
        seen = [self._purities(batches(), ctx) for batches in (ctx.train, ctx.held_out)]
        for m, encoder in self.net.encoders.items():
            train, held_out = (purities.get(m) for purities in seen)
            if train is None or held_out is None:
                continue
            w = math.tanh(self.strength * abs(train - held_out))
            for name, value in (
                (f"purity/{m}", train),
                (f"held_out_purity/{m}", held_out),
                (f"relearned/{m}", w),
            ):
                ctx.log(name, value)
            towards(encoder, self.initial[m], w)

    @torch.no_grad()
    def _purities(self, batches: Iterable[Batch], ctx: Context) -> dict[str, float]:
        """Return the purity of each modality that a row of the batches has."""
        rows: dict[str, list[Tensor]] = {m: [] for m in self.net.encoders}
        targets, present = [], []
        with measuring(self), parallel.replicated():
            for batch in batches:
                for m, z in self.net.encode(batch).items():
                    rows[m].append(pooled(z))
                targets.append(batch.target)
                present.append(present_in(batch, rows))
        if not targets:
            return {}
        target, found = torch.cat(targets).cpu().numpy(), {}
        for (m, own), there in zip(rows.items(), torch.cat(present, 1).cpu().numpy(), strict=True):
            # equal on all ranks but for rounding, which clusters would magnify
            z = parallel.mean(torch.cat(own).double(), 1).cpu().numpy()
            if there.any():
                seed = int(torch.randint(2**31, (), generator=ctx.generator("clusters", m)))
                clusters = clustered(scaled(z[there]), self.task.n_outputs, seed)
                found[m] = purity(clusters, target[there])
        return found


def scaled(features: np.ndarray) -> np.ndarray:
    """Return features (N, D) brought to [-1, 1] by their least and greatest value; -1 where these are the same."""
    low, high = features.min(0), features.max(0)
    return 2 * (features - low) / np.where(high > low, high - low, 1) - 1


def clustered(features: np.ndarray, clusters: int, seed: int) -> np.ndarray:
    """Return the k-means cluster (N,) of each row of features (N, D); fewer clusters where there are fewer rows."""
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    means = KMeans(min(clusters, len(features)), n_init=STARTS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of features that are the same in many rows
        return means.fit(features).labels_


def purity(clusters: np.ndarray, target: np.ndarray) -> float:
    """Return the share of rows whose class (N,) is the most frequent one of their cluster (N,)."""
    counts = np.zeros((clusters.max() + 1, target.max() + 1))
    np.add.at(counts, (clusters, target), 1)
    return float(counts.max(1).sum() / len(target))


@torch.no_grad()
def towards(module: nn.Module, other: nn.Module, share: float) -> None:
    """Move the parameters of `module` by a share of the way to those of `other`."""
    for p, q in zip(module.parameters(), other.parameters(), strict=True):
        p.lerp_(q, share)
