"""Regressors of stage 2: from the logits of one modality to the probability that it is right.

Each kind is a fit and a prediction. A fit takes inputs (N, C), 0/1 targets (N,) and a generator, and returns
tensors; a prediction needs these tensors and nothing else, runs on any device and is the same function as the
fitted scikit-learn estimator. So a checkpoint holds a fitted regressor without pickling one. All fits are made
on the CPU and draw from the generator alone.

Source: two-stage dynamic fusion (Ge and Chen, INFORMS Journal on Computing, 10.1287/ijoc.2023.0448), table
F.1; settings of the released code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from sweeper.models.maths.eager import eager
from sweeper.models.maths.evidence import SCORES, Rows, normalized, trust

Kind = Literal["lr", "rf", "svr", "emlp"]
State = dict[str, Tensor]


def fit_lr(x: Tensor, y: Tensor, generator: torch.Generator) -> State:
    """Return ordinary least squares with an intercept: weight (C,), bias ()."""
    from sklearn.linear_model import LinearRegression

    found = LinearRegression().fit(x.double().numpy(), y.double().numpy())
    return {"weight": torch.as_tensor(found.coef_).to(x), "bias": torch.as_tensor(found.intercept_).to(x)}


def predict_lr(state: State, x: Tensor) -> Tensor:
    """Return w'x + b, (N,)."""
    return x @ state["weight"] + state["bias"]


def fit_rf(
    x: Tensor, y: Tensor, generator: torch.Generator, *, trees: int = 100, leaves: int = 50, depth: int = 50
) -> State:
    """Return a random forest as tables (trees, nodes): split feature, threshold, children, value; and its depth.

    A leaf is its own child, so a walk of `depth` steps ends in it; shorter tables are padded with zeros.
    """
    from sklearn.ensemble import RandomForestRegressor

    limits = {"n_estimators": trees, "max_leaf_nodes": leaves, "max_depth": depth}
    grown = RandomForestRegressor(**limits, random_state=_seed(generator)).fit(x.numpy(), y.numpy())
    forest = [tree.tree_ for tree in grown.estimators_]
    columns: dict[str, list[np.ndarray]] = {
        "feature": [np.maximum(t.feature, 0) for t in forest],
        "threshold": [t.threshold for t in forest],
        "left": [_own_child(t.children_left) for t in forest],
        "right": [_own_child(t.children_right) for t in forest],
        "value": [t.value[:, 0, 0] for t in forest],
    }
    nodes = max(t.node_count for t in forest)
    state = {
        name: torch.as_tensor(np.stack([np.pad(a, (0, nodes - len(a))) for a in arrays]))
        for name, arrays in columns.items()
    }
    return state | {"depth": torch.tensor(max(t.max_depth for t in forest))}


def predict_rf(state: State, x: Tensor) -> Tensor:
    """Return the mean of the trees' values (N,), double; inputs are rounded to float32 first, as in scikit-learn."""
    x, trees = x.float(), torch.arange(len(state["value"]), device=x.device)
    node = torch.zeros(len(x), len(trees), dtype=torch.long, device=x.device)
    for _ in range(int(state["depth"])):
        lower = x.gather(1, state["feature"][trees, node]) <= state["threshold"][trees, node]
        node = torch.where(lower, state["left"][trees, node], state["right"][trees, node])
    return state["value"][trees, node].mean(1)


def fit_svr(
    x: Tensor, y: Tensor, generator: torch.Generator, *, c: float = 1.0, tube: float = 0.1, rows: int = 20_000
) -> State:
    """Return a support vector regression with kernel exp(-|x - s|² / C): support (S, C), dual (S,), bias ().

    Its cost grows with the square of the rows, so it is fitted to `rows` of them, drawn at random, if there
    are more.
    """
    from sklearn.svm import SVR

    if len(x) > rows:
        chosen = torch.randperm(len(x), generator=generator)[:rows]
        x, y = x[chosen], y[chosen]
    found = SVR(gamma="auto", C=c, epsilon=tube)
    found.random_state = 0  # changes nothing here, but by default every fit advances NumPy's global generator
    found.fit(x.double().numpy(), y.double().numpy())
    parts = {"support": found.support_vectors_, "dual": found.dual_coef_[0], "bias": found.intercept_[0]}
    return {name: torch.as_tensor(value).to(x) for name, value in parts.items()}


def predict_svr(state: State, x: Tensor) -> Tensor:
    """Return Σ_s dual_s exp(-|x - s|² / C) + b, (N,)."""
    square = torch.cdist(x, state["support"], compute_mode="donot_use_mm_for_euclid_dist").square()
    return (-square / x.shape[-1]).exp() @ state["dual"] + state["bias"]


def fit_emlp(
    x: Tensor,
    y: Tensor,
    generator: torch.Generator,
    *,
    width: int = 128,
    dropout: float = 0.3,
    lr: float = 1e-3,
    weight_decay: float = 0.1,
    epochs: int = 100,
    batch_size: int = 128,
    samples: Tensor | None = None,
) -> State:
    """Return the evidence-based perceptron softplus → Linear(C, width) → PReLU → dropout → Linear(width, 1).

    Squared error, AdamW, the learning rate halved after 10 epochs without a lower mean training loss; the last
    weights are kept. Initial weights are uniform to 1 / √fan-in, the PReLU begins at 0.25. A batch is all rows of
    `batch_size` samples, of which `samples` (N,) says each row's; None: every row is one.
    """

    def uniform(*shape: int, fan: int) -> Tensor:
        return (2 * torch.rand(*shape, generator=generator, dtype=x.dtype) - 1) * fan**-0.5

    fan, samples = x.shape[1], torch.arange(len(x)) if samples is None else samples
    state = {
        "hidden": uniform(width, fan, fan=fan),
        "hidden_bias": uniform(width, fan=fan),
        "slope": torch.full((1,), 0.25, dtype=x.dtype),
        "out": uniform(width, fan=width),
        "out_bias": uniform(1, fan=width),
    }
    with torch.enable_grad():
        optimizer = eager(torch.optim.AdamW)(
            [p.requires_grad_() for p in state.values()], lr=lr, weight_decay=weight_decay
        )
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=10)
        for _ in range(epochs):
            total = 0.0
            for rows in _batches(samples, batch_size, generator):
                keep = torch.rand(len(rows), width, generator=generator) >= dropout
                loss = functional.mse_loss(_emlp(state, x[rows], keep / (1 - dropout)), y[rows])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item() * len(rows)
            scheduler.step(total / len(x))
    return {name: p.detach() for name, p in state.items()}


def predict_emlp(state: State, x: Tensor) -> Tensor:
    """Return the perceptron's output (N,) without dropout."""
    return _emlp(state, x, torch.ones((), device=x.device))


FITS: dict[str, Callable[..., State]] = {"lr": fit_lr, "rf": fit_rf, "svr": fit_svr, "emlp": fit_emlp}
PREDICTIONS = {"lr": predict_lr, "rf": predict_rf, "svr": predict_svr, "emlp": predict_emlp}
KINDS: tuple[Kind, ...] = tuple(FITS)


class Regressor(nn.Module):
    """A regressor of one kind, shared by all modalities, whose fitted state is its buffers.

    `ordered` sorts the logits first, which hides the classes' identities; None as published: EMLP sees them as
    they are, the others sorted. `options` are those of the kind's fit. Loading a state_dict takes over the
    tensors it holds, whatever their shapes, so that a fresh regressor can load a fitted one.
    """

    def __init__(self, kind: Kind, *, ordered: bool | None = None, **options: Any) -> None:  # noqa: ANN401 - a fit's
        super().__init__()
        self.kind, self.options = kind, options
        self.ordered = kind != "emlp" if ordered is None else ordered
        self.register_buffer("place", torch.empty(0), persistent=False)

    @property
    def state(self) -> State:
        """The fitted tensors by name; empty before the fit."""
        return {name: value for name, value in self.named_buffers() if name != "place"}

    @state.setter
    def state(self, state: State) -> None:
        for name in self.state:
            delattr(self, name)
        for name, value in state.items():
            self.register_buffer(name, value.to(self.place.device, copy=True))

    def fit(self, rows: Rows, generator: torch.Generator) -> None:
        """Fit to whether each modality is right, the rows of all modalities pooled; absent ones are left out."""
        x, options = self._inputs(rows.logits[rows.present]).cpu(), dict(self.options)
        if self.kind == "emlp":
            options["samples"] = torch.arange(rows.logits.shape[1]).expand(rows.present.shape)[
                rows.present.cpu()
            ]
        self.state = FITS[self.kind](x, rows.correct[rows.present].to(x), generator, **options)

    def forward(self, logits: Tensor) -> Tensor:
        """Return the regressed correctness (…,) of logits (…, C), not clipped."""
        flat = self._inputs(logits).reshape(-1, logits.shape[-1])
        return PREDICTIONS[self.kind](self.state, flat).reshape(logits.shape[:-1]).to(logits.dtype)

    def _inputs(self, logits: Tensor) -> Tensor:
        return logits.sort(-1).values if self.ordered else logits

    def _load_from_state_dict(self, state_dict: Mapping[str, Tensor], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        self.state = {k.removeprefix(prefix): v for k, v in state_dict.items() if k.startswith(prefix)}
        super()._load_from_state_dict(state_dict, prefix, *rest)


def compare(
    fit: Rows, test: Rows, generator: torch.Generator, least: float | None = 1e-3
) -> dict[str, Tensor]:
    """Return {name: weights (M, N)} on `test` of the six scores and of every regressor fitted to `fit`.

    All of them on the same stage-1 logits: what tables 3 and F.1 and figure F.3 compare, without retraining.
    """
    found = {score: trust(test.logits, test.present, score)[1] for score in SCORES}
    for kind in KINDS:
        regressor = Regressor(kind)
        regressor.fit(fit, generator)
        found[kind] = normalized(regressor(test.logits), test.present, least)
    return found


def _batches(samples: Tensor, size: int, generator: torch.Generator) -> tuple[Tensor, ...]:
    """Return the rows (n,) of `size` samples each, samples in random order."""
    names, own = samples.unique(return_inverse=True)
    place = torch.randperm(len(names), generator=generator)[own]
    order = place.argsort(stable=True)
    return order.split(torch.bincount(place // size).tolist())


def _emlp(state: State, x: Tensor, keep: Tensor) -> Tensor:
    hidden = functional.linear(functional.softplus(x), state["hidden"], state["hidden_bias"])
    hidden = functional.prelu(hidden, state["slope"]) * keep.to(x.dtype)
    return hidden @ state["out"] + state["out_bias"]


def _own_child(children: np.ndarray) -> np.ndarray:
    return np.where(children < 0, np.arange(len(children)), children)


def _seed(generator: torch.Generator) -> int:
    return int(torch.randint(2**31, (), generator=generator))
