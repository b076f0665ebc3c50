"""Toy nets, batches and contexts, for tests that call a method's hooks without the trainer, and toys it trains."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from sweeper.models.data.dataset import Dataset
from sweeper.models.encoders.base import Encoder
from sweeper.models.encoders.mlp import Mlp
from sweeper.models.fusions.base import Fusion
from sweeper.models.fusions.concat import Concat
from sweeper.models.maths.eager import eager
from sweeper.models.method import Method
from sweeper.models.net import Net
from sweeper.models.streams import torch_stream
from sweeper.models.tasks.base import Task
from sweeper.models.tasks.classification import Classification
from sweeper.models.training import optimizers
from sweeper.models.training.settings import Settings
from sweeper.models.training.steps import steps
from sweeper.models.values import Batch, Context, DataSpec, InputSpec, Objective, Phase

CLASSES, WIDTH, ROWS, FEATURES = 4, 8, 24, 5
ONE, TWO, THREE = ("red",), ("red", "green"), ("red", "green", "blue")
SETTINGS = Settings(lr=0.1, weight_decay=1e-2)


class Normed(Encoder):
    """A linear layer of vectors with batch norm, whose statistics training moves, and dropout."""

    def __init__(self, spec: InputSpec, *, dim: int, dropout: float = 0.5) -> None:
        super().__init__(dim)
        linear = nn.Linear(*spec.shape, dim, bias=False)
        self.body = nn.Sequential(linear, nn.BatchNorm1d(dim), nn.ReLU(), nn.Dropout(dropout))

    def pooled(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return features (B, dim)."""
        return self.body(x)


class Recorded(Method):
    """Joint training that remembers its batches and what their hooks saw."""

    def __init__(self, net: Net, task: Task) -> None:
        super().__init__(net, task)
        self.seen: list[Batch] = []
        self.contexts: list[Context] = []

    def objectives(self, batch: Batch, ctx: Context) -> Iterator[Objective]:
        """Yield one objective."""
        self.seen.append(batch)
        self.contexts.append(ctx)
        return super().objectives(batch, ctx)


def spec_of(modalities: Sequence[str] = TWO, rows: int = ROWS) -> DataSpec:
    """Return a dataset of vectors with four classes, all of whose rows are for training."""
    inputs = {m: InputSpec("vector", (FEATURES,)) for m in modalities}
    return DataSpec("toy", inputs, CLASSES, {"train": rows}, "none", rows=rows)


def net_of(
    spec: DataSpec,
    widths: int | Sequence[int] = WIDTH,
    encoder: type[Encoder] = Mlp,
    fusion: type[Fusion] | None = Concat,
    **options: object,
) -> Net:
    """Return a net with an encoder of the given class, width and options for each modality."""
    torch.manual_seed(0)
    widths = [widths] * len(spec.modalities) if isinstance(widths, int) else widths
    encoders = {
        m: encoder(own, dim=d, **options) for (m, own), d in zip(spec.modalities.items(), widths, strict=True)
    }
    return Net(spec, encoders, fusion and fusion({m: e.dim for m, e in encoders.items()}, spec.n_classes))


def method_of(
    cls: type[Method] = Method,
    modalities: Sequence[str] = TWO,
    *,
    widths: int | Sequence[int] = WIDTH,
    encoder: type[Encoder] = Mlp,
    task: type[Task] = Classification,
    rows: int = ROWS,
    dtype: torch.dtype = torch.float32,
    **options: object,
) -> Method:
    """Return a method on a toy net, always with the same initial weights."""
    spec = spec_of(modalities, rows)
    net = net_of(spec, widths, encoder, Concat if cls.fuses else None)
    return cls(net, task(spec), **options).to(dtype)


def method_on(
    cls: type[Method], dataset: Dataset, dtype: torch.dtype = torch.float64, **options: object
) -> Method:
    """Return a method that no study can name on small encoders of a dataset's vectors."""
    return cls(net_of(dataset.spec, **options), Classification(dataset.spec)).to(dtype)


def batch_of(
    modalities: Sequence[str] = TWO,
    rows: int = ROWS,
    *,
    seed: int = 1,
    first: int = 0,
    present: dict[str, Tensor] | None = None,
    dtype: torch.dtype = torch.float32,
    told: bool = False,
) -> Batch:
    """Return rows `first`, … of white noise; `told` makes it small, around what each modality says of the class."""
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(CLASSES, (rows,), generator=g)
    noise = {m: torch.randn(rows, FEATURES, generator=g).to(dtype) for m in modalities}
    centres = torch.randn(CLASSES, FEATURES, generator=torch.Generator().manual_seed(99)).to(dtype)
    inputs = {
        m: centres[target].roll(i, 1) + 0.3 * noise[m] if told else noise[m] for i, m in enumerate(modalities)
    }
    return Batch(inputs, target, first + torch.arange(rows), present or {})


def taken(batch: Batch, places: Tensor) -> Batch:
    """Return the rows of a batch at `places`, a mask or numbers."""
    inputs, present = ({m: x[places] for m, x in part.items()} for part in (batch.inputs, batch.present))
    return Batch(inputs, batch.target[places], batch.index[places], present)


def joined(batches: Sequence[Batch]) -> Batch:
    """Return the rows of batches, of which none lacks a modality, as one."""
    inputs = {m: torch.cat([b.inputs[m] for b in batches]) for m in batches[0].inputs}
    return Batch(inputs, torch.cat([b.target for b in batches]), torch.cat([b.index for b in batches]))


def context(
    phase: str = "train",
    epoch: int = 0,
    epochs: int = 10,
    step: int = 0,
    *,
    train: Sequence[Batch] = (),
    held_out: Sequence[Batch] = (),
    logged: defaultdict[str, list[float]] | None = None,
) -> Context:
    """Return what a hook sees, of the batches that are given."""
    logged = defaultdict(list) if logged is None else logged

    def rows(index: Tensor) -> Batch:
        every = joined([*train, *held_out])
        return taken(every, torch.tensor([every.index.tolist().index(i) for i in index.tolist()]))

    return Context(
        phase=Phase(phase, epochs),
        epoch=epoch,
        epochs=epochs,
        step=step,
        train=lambda condition="clean": iter(train),
        held_out=lambda condition="clean": iter(held_out),
        rows=rows,
        log=lambda name, value: logged[name].append(value),
        generator=lambda *purpose: torch_stream(0, *purpose, phase, epoch, step),
        lr=SETTINGS.lr,
    )


def optimizer_of(method: Method) -> torch.optim.Optimizer:
    """Return the trainer's optimiser: SGD with momentum and weight decay."""
    trainable = {name: p.requires_grad for name, p in method.named_parameters()}
    return optimizers.optimizer(optimizers.groups(method, trainable, SETTINGS, SETTINGS.lr, {}), SETTINGS)


def stepping(
    method: Method,
    batch: Batch,
    ctx: Context,
    optimizer: torch.optim.Optimizer,
    autocast: AbstractContextManager | None = None,
) -> Iterator[Objective]:
    """Make the trainer's steps on a batch, on one rank; yield each objective before its step is made."""
    for objective, _ in steps(method, [(batch, 1.0, ctx)], optimizer, SETTINGS, autocast or nullcontext()):
        yield objective


def step(
    method: Method, batch: Batch, ctx: Context, optimizer: torch.optim.Optimizer, **more: object
) -> None:
    """Make all steps on a batch."""
    for _ in stepping(method, batch, ctx, optimizer, **more):
        pass


def assert_trained_alone(method: Method) -> None:
    """See that three steps of a method train each encoder and its head in `heads` as if there were no other."""
    alone = {m: copy.deepcopy(nn.ModuleList([method.net.encoders[m], method.heads[m]])) for m in TWO}
    optimizer = optimizer_of(method)
    for seed in range(3):
        step(method, batch_of(seed=seed), context(), optimizer)
    for m, (encoder, head) in alone.items():
        own = eager(torch.optim.SGD)([*encoder.parameters(), *head.parameters()], 0.1, 0.9, weight_decay=1e-2)
        for seed in range(3):
            batch = batch_of(seed=seed)
            own.zero_grad()
            cross_entropy(head(encoder(batch.inputs[m], None, "pooled")), batch.target).backward()
            own.step()
        for part, twin in ((encoder, method.net.encoders[m]), (head, method.heads[m])):
            for name, value in part.named_parameters():
                assert torch.allclose(twin.get_parameter(name), value, atol=1e-6), (m, name)


def gradients(method: Method, batch: Batch, ctx: Context) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the gradients of the only objective by parameter: after `modulate`, and before."""
    (objective,) = method.objectives(batch, ctx)
    objective.total.backward()
    raw = {name: p.grad.clone() for name, p in method.named_parameters() if p.grad is not None}
    method.modulate(objective, ctx)
    return {name: p.grad for name, p in method.named_parameters() if p.grad is not None}, raw
