"""Matching losses: closed forms, masks, and that two ranks compute what one does."""

import math
from functools import partial

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from sweeper.models import parallel
from sweeper.models.maths import gradients
from sweeper.models.maths.matching import infonce, over_pairs, posterior_alignment, unit

TAU = 0.3
WIDTH, ROWS, SPLIT = 4, 5, (3, 2)


def features(rows=ROWS, seed=0, width=WIDTH):
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def printed(a, b, tau=TAU):
    """The paper's formula, term by term."""
    s = torch.nn.functional.cosine_similarity(a[:, None], b[None], dim=-1) / tau
    terms = [s[i, i] - s[i].logsumexp(0) + s[i, i] - s[:, i].logsumexp(0) for i in range(len(a))]
    return -sum(terms) / (2 * len(a))


def test_infonce_is_the_printed_formula():
    a, b = features(seed=1), features(seed=2)
    assert infonce(a, b, tau=TAU) == pytest.approx(printed(a, b).item(), rel=1e-12)
    assert infonce(3 * a, b / 7, tau=TAU) == pytest.approx(printed(a, b).item(), rel=1e-12)


def test_infonce_of_identical_rows_is_log_of_their_number():
    a = torch.ones(ROWS, WIDTH)
    assert infonce(a, a).item() == pytest.approx(math.log(ROWS))


def test_rows_that_lack_a_modality_drop_out_of_both_sides():
    a, b = features(seed=1), features(seed=2)
    usable = torch.tensor([True, False, True, True, False])
    assert torch.allclose(infonce(a, b, usable, tau=TAU), printed(a[usable], b[usable]))
    one = torch.tensor([True, False, False, False, False])
    assert infonce(a, b, one) is None
    assert posterior_alignment(a, b, one) is None
    assert infonce(a[:1], b[:1]) is None


def test_rows_of_the_same_class_can_be_left_out_of_the_negatives():
    a, b = features(seed=1), features(seed=2)
    assert infonce(a, b, labels=torch.zeros(ROWS)).item() == pytest.approx(0.0)
    assert torch.equal(infonce(a, b, labels=torch.arange(ROWS)), infonce(a, b))
    pair = infonce(a[:3], b[:3], tau=TAU, labels=torch.tensor([0, 0, 1]))
    s = unit(a[:3]) @ unit(b[:3]).T / TAU
    kept = [(s[0, [0, 2]], s[[0, 2], 0]), (s[1, [1, 2]], s[[1, 2], 1]), (s[2], s[:, 2])]
    terms = [(row.logsumexp(0) + column.logsumexp(0)) / 2 for row, column in kept]
    assert torch.allclose(pair, (sum(terms) - s.trace()) / 3)


def test_posterior_alignment_golden():
    a = torch.tensor([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
    b = torch.tensor([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]])
    assert posterior_alignment(a, b).item() == pytest.approx(0.1286087, abs=1e-6)


def test_posterior_alignment_stays_finite_where_probabilities_underflow():
    a = torch.tensor([[300.0, -300.0]] * 2, requires_grad=True)
    loss = posterior_alignment(a, -a.detach())
    loss.backward()
    assert loss.isfinite()
    assert a.grad.isfinite().all()


def test_posterior_alignment_is_not_bounded_like_jensen_shannon():
    a, b = torch.tensor([[30.0, 0.0]] * 2), torch.tensor([[0.0, 30.0]] * 2)
    assert posterior_alignment(a, b).item() == pytest.approx(14.31, abs=0.01)


def test_pairs_are_averaged_and_pairs_without_rows_skipped():
    values = {m: features(seed=i) for i, m in enumerate("xyz")}
    loss = partial(infonce, tau=TAU)
    xy, xz, yz = (loss(values[j], values[k]) for j, k in ("xy", "xz", "yz"))
    assert torch.allclose(over_pairs(values, {}, loss), (xy + xz + yz) / 3)
    nobody = torch.zeros(ROWS, dtype=torch.bool)
    assert torch.allclose(over_pairs(values, {"z": nobody}, loss), xy)
    assert over_pairs(values, {"x": nobody, "y": nobody}, loss).item() == 0.0


def test_a_row_counts_in_a_pair_if_it_has_both():
    values = {m: features(seed=i) for i, m in enumerate("xy")}
    present = {"x": torch.tensor([1, 1, 1, 0, 1]), "y": torch.tensor([0, 1, 1, 1, 1])}
    both = [1, 2, 4]
    expected = infonce(values["x"][both], values["y"][both])
    assert torch.equal(over_pairs(values, present, infonce), expected)


def test_a_row_of_zeros_takes_no_gradient_and_has_a_second_derivative():
    a = features()
    a[1] = 0
    a.requires_grad_()
    first = torch.autograd.grad(infonce(a, features(seed=3)), a, create_graph=True)[0]
    assert first[1].eq(0).all()
    assert torch.autograd.grad(first.square().sum(), a)[0].isfinite().all()


CASES = {
    "all rows": {},
    "some rows": {"usable": [True, False, True, True, True]},
    "a rank without usable rows": {"usable": [True, True, False, False, False]},
    "other classes": {"labels": [0, 1, 0, 1, 2]},
}


def matched(case, start, stop):
    """Losses and gradients of two linear maps on rows start..stop, as the trainer combines them."""
    options = {k: torch.tensor(v)[start:stop] for k, v in CASES[case].items()}
    maps = [features(rows=3, seed=7).T.contiguous(), features(rows=3, seed=8).T.contiguous()]
    maps = [m.requires_grad_() for m in maps]
    a, b = (features(seed=i)[start:stop] @ m for i, m in enumerate(maps))
    share = (stop - start) / ROWS
    align = posterior_alignment(a, b, options.get("usable"))
    losses = [share * infonce(a, b, tau=TAU, **options), share * align]
    found = [gradients.of(loss, maps, retain_graph=True) for loss in losses]
    return [(parallel.total(loss), *grads) for loss, grads in zip(losses, found, strict=True)]


def on_rank(rank, folder):
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    start = sum(SPLIT[:rank])
    found = {case: matched(case, start, start + SPLIT[rank]) for case in CASES}
    torch.save(found, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
def test_two_ranks_compute_what_one_does(tmp_path):
    mp.spawn(on_rank, (str(tmp_path),), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for case in CASES:
        alone = matched(case, 0, ROWS)
        for rank in ranks:
            for own, expected in zip(rank[case], alone, strict=True):
                for x, y in zip(own, expected, strict=True):
                    assert torch.allclose(x, y, rtol=0, atol=1e-10), case
