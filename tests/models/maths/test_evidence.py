"""Evidence, uncertainty scores, weights and losses: published numbers, closed forms, properties."""

import math
from functools import reduce

import pytest
import torch
from torch.distributions import Dirichlet, kl_divergence
from torch.nn.functional import cross_entropy

from sweeper.models.maths.evidence import (
    SCORES,
    collect,
    concentrations,
    dempster,
    emc,
    evidential,
    full,
    fuse,
    kl_to_uniform,
    lq,
    mean_weights,
    normalized,
    probabilities,
    trust,
    uncertainty,
)
from sweeper.models.maths.presence import present_in
from sweeper.models.values import Batch

PAIR = torch.tensor([[[3.0, 1.0, -2.0]], [[0.5, 0.4, 0.0]]])  # (M 2, B 1, C 3)
HERE = torch.ones(2, 1, dtype=torch.bool)


def wave(*shape, start, scale=1.0):
    steps = torch.arange(math.prod(shape), dtype=torch.float64)
    return (scale * torch.sin(0.7 * steps + start)).reshape(shape)


def logits(modalities=3, rows=5, classes=4, seed=0):
    g = torch.Generator().manual_seed(seed)
    return 2 * torch.randn(modalities, rows, classes, generator=g, dtype=torch.float64)


def close(value, *numbers, tolerance=2e-6):
    assert value.flatten().tolist() == pytest.approx(numbers, abs=tolerance)


# published numbers


def test_published_dirichlet_mean():
    close(probabilities(PAIR), 0.540621, 0.308897, 0.150482, 0.353762, 0.342820, 0.303418)


@pytest.mark.parametrize(
    ("score", "numbers"),
    [
        ("Evd", [0.400599, 0.537611]),
        ("PE", [0.892378, 0.998060]),
        ("LC", [0.689069, 0.969357]),
        ("MC", [0.768276, 0.989058]),
        ("ES", [-0.313285, -0.142083]),
        ("RC", [0.571375, 0.969068]),
    ],
)
def test_published_scores(score, numbers):
    close(uncertainty(PAIR, score), *numbers)


@pytest.mark.parametrize(
    ("kind", "numbers"),
    [
        ("softmax", {"PE": 0.633546, "LC": 0.386533, "MC": 0.448345, "RC": 0.223130}),
        ("dirichlet", {"PE": 0.961818, "LC": 0.819083, "MC": 0.857803, "RC": 0.631315, "Evd": 0.493376}),
    ],
)
def test_published_scores_of_either_probability(kind, numbers):
    one = torch.tensor([2.0, 0.5, -1.0, 0.0])
    assert {s: uncertainty(one, s, kind).item() for s in numbers} == pytest.approx(numbers, abs=2e-6)


def test_published_fusion_and_loss():
    fused, _ = fuse({"a": PAIR[0], "b": PAIR[1]}, *trust(PAIR, HERE))
    close(fused, 2.831731, 0.959615, -1.865384)
    close(lq(PAIR, torch.tensor([0])), 0.124399, 0.601811)
    close(lq(PAIR, torch.tensor([1])), 1.920738, 0.970452)
    losses = emc({"a": PAIR[0], "b": PAIR[1]}, fused, torch.tensor([1]), HERE)
    assert sum(losses.values()).item() == pytest.approx(4.722731, abs=2e-6)


def test_published_batch():
    stacked = torch.stack([wave(3, 4, start=0.2, scale=2), wave(3, 4, start=1.7, scale=2)])
    named, target = dict(zip("ab", stacked, strict=True)), torch.tensor([1, 2, 3])
    here = torch.ones(2, 3, dtype=torch.bool)
    uncertain, weights = trust(stacked, here)
    close(uncertain, 0.881663, 0.703593, 0.887462, 0.829380, 0.676066, 0.922888)
    fused, _ = fuse(named, uncertain, weights)
    close(fused[0], 1.333817, 1.439273, 0.867817, -0.111788)
    close(fused[2], 0.140193, 1.059855, 1.481051, 1.205685)
    close(lq(stacked[0], target), 1.244920, 2.278422, 0.480621)
    assert sum(emc(named, fused, target, here).values()).item() == pytest.approx(4.174735, abs=2e-6)


def test_published_combination_of_opinions():
    first, second, third = torch.tensor([[5.0, 2, 1], [1, 4, 2], [3, 1, 1]])
    close(dempster(torch.stack([first, second])), 5, 6, 2, tolerance=1e-5)
    close(dempster(torch.stack([first, second, third])), 9.666666, 6, 2, tolerance=1e-5)


def test_published_combination_of_a_batch():
    views = [torch.nn.functional.softplus(wave(2, 3, start=v, scale=3)) + 1 for v in range(3)]
    close(dempster(torch.stack(views)), 11.311438, 13.357948, 9.624162, 5.286330, 2.604065, 1.483752)


def test_published_evidential_losses():
    alpha = torch.tensor([5.0, 2, 1])
    assert kl_to_uniform(alpha).item() == pytest.approx(1.023008, abs=2e-6)
    found = [evidential(alpha, torch.tensor(y), 5 / 10).item() for y in (0, 1)]
    assert found == pytest.approx([0.642163, 2.213549], abs=2e-6)
    assert evidential(alpha, torch.tensor(1), 5 / 10, "square").item() == pytest.approx(1.648470, abs=2e-6)
    batch = torch.nn.functional.softplus(wave(2, 3, start=0, scale=3)) + 1
    close(evidential(batch, torch.tensor([0, 2]), 5 / 50), 1.999172, 2.158169)
    close(evidential(batch, torch.tensor([0, 2]), 1.0, "square"), 1.939631, 1.840594)


# properties


def test_kl_to_uniform_is_that_of_the_distributions():
    alpha = concentrations(logits())
    by_torch = kl_divergence(Dirichlet(alpha), Dirichlet(torch.ones_like(alpha)))
    assert torch.allclose(kl_to_uniform(alpha), by_torch)


def rule(alpha, other):
    """Dempster's rule for two opinions as it is printed, in beliefs."""
    classes = alpha.shape[-1]
    (b, u), (c, v) = (((a - 1) / a.sum(-1, True), classes / a.sum(-1, True)) for a in (alpha, other))
    conflict = b.sum(-1, True) * c.sum(-1, True) - (b * c).sum(-1, True)
    belief, lacking = ((x / (1 - conflict)) for x in (b * c + b * v + c * u, u * v))
    return belief * classes / lacking + 1


@pytest.mark.parametrize("views", [1, 2, 3, 5])
def test_combining_at_once_is_folding_the_rule_for_two_in_any_order(views):
    alpha = concentrations(logits(views))
    assert torch.allclose(dempster(alpha), reduce(rule, alpha))
    assert torch.allclose(dempster(alpha.flip(0)), dempster(alpha))


def test_combining_with_no_evidence_changes_nothing():
    alpha = concentrations(logits(1))
    assert torch.allclose(dempster(torch.cat([alpha, torch.ones_like(alpha)])), alpha[0])


def test_a_combined_opinion_is_at_least_as_sure_as_each():
    alpha = concentrations(logits(3))
    assert (dempster(alpha) >= alpha).all()


def test_full_conflict_combines_to_finite_evidence():
    alpha = torch.tensor([[1e6, 1.0], [1.0, 1e6]])
    close(dempster(alpha) / 1e6, 1.0, 1.0)


@pytest.mark.parametrize("score", [s for s in SCORES if s != "ES"])
def test_scores_fall_from_one_as_one_class_leads(score):
    leads = torch.tensor([[-30.0, -30, -30], [1.0, 0, 0], [5.0, 0, 0], [1e6, -30, -30]])
    found = uncertainty(leads, score).tolist()
    assert found[0] == pytest.approx(1.0)
    assert found == sorted(found, reverse=True)
    assert 0 <= found[-1] < 0.01


@pytest.mark.parametrize("kind", ["dirichlet", "softmax"])
@pytest.mark.parametrize("score", SCORES)
def test_scores_forget_the_order_of_the_classes(score, kind):
    x = logits()
    assert torch.allclose(uncertainty(x, score, kind), uncertainty(x[..., [2, 0, 3, 1]], score, kind))


@pytest.mark.parametrize("modalities", [2, 3, 5])
@pytest.mark.parametrize("score", SCORES)
def test_weights_follow_a_permutation_of_the_modalities(score, modalities):
    here = torch.arange(modalities * 5).reshape(modalities, 5) % 3 > 0
    here[0] = True
    x, order = logits(modalities), torch.arange(modalities).roll(1)
    for a, b in zip(trust(x, here, score), trust(x[order], here[order], score), strict=True):
        assert torch.allclose(a[order], b, rtol=1e-12)


@pytest.mark.parametrize("score", [s for s in SCORES if s != "ES"])
def test_weights_sum_to_one_over_the_modalities_present(score):
    here = torch.tensor([[1, 1, 0], [1, 0, 1], [1, 1, 1]]).bool()
    x = logits(3, 3)
    uncertain, weights = trust(x, here, score)
    assert torch.allclose(weights.sum(0), torch.ones(3, dtype=torch.float64))
    assert weights[~here].eq(0).all()
    assert uncertain[~here].eq(1).all()
    alone = trust(x[1:, 2:], here[1:, 2:], score)[1]
    assert torch.allclose(weights[1:, 2], alone[:, 0])


def test_the_energy_score_weighs_by_energy():
    here = torch.tensor([[True], [False]])
    uncertain, weights = trust(PAIR, here, "ES")
    close(weights, 0.313285, 0.0)
    assert torch.equal(uncertain, -weights)


def test_tied_classes_everywhere_weigh_the_present_modalities_equally():
    here = torch.tensor([[1, 1], [1, 1], [1, 0]]).bool()
    weights = trust(torch.zeros(3, 2, 4), here)[1]
    close(weights, 1 / 3, 1 / 2, 1 / 3, 1 / 2, 1 / 3, 0)


def test_a_bound_keeps_weights_positive_and_none_reproduces_the_plain_ratio():
    confidence, here = torch.tensor([[0.5], [-0.1]]), torch.ones(2, 1, dtype=torch.bool)
    close(normalized(confidence, here), 1.25, -0.25)
    close(normalized(confidence, here, 1e-3), 0.5 / 0.501, 0.001 / 0.501)


def test_no_gradient_flows_through_the_weights():
    x = PAIR.clone().requires_grad_()
    fused, said = fuse({"a": x[0], "b": x[1]}, *trust(x, HERE))
    fused[0, 0].backward()
    weights = torch.stack([said["weight/a"], said["weight/b"]])
    assert torch.equal(x.grad[:, :, 0], weights)
    assert not any(value.requires_grad for value in said.values())


def test_what_is_said_of_rows_is_named_after_the_modalities():
    x, here = logits(2), torch.ones(2, 5, dtype=torch.bool)
    fused, said = fuse({"red": x[0], "green": x[1]}, *trust(x, here, "PE"), score="PE")
    assert set(said) == {
        "weight/red",
        "weight/green",
        "uncertainty/red",
        "uncertainty/green",
        "uncertainty",
    }
    assert torch.equal(said["uncertainty"], uncertainty(fused, "PE"))
    assert torch.equal(said["uncertainty/green"], uncertainty(x[1], "PE"))
    means = mean_weights(said)
    assert means == pytest.approx({n: said[n].mean().item() for n in ("weight/red", "weight/green")})


# the asymmetric loss


def test_lq_is_cross_entropy_at_zero_and_near_it():
    x, target = logits(1, 6)[0], torch.tensor([0, 1, 2, 3, 0, 1])
    by_torch = cross_entropy(x, target, reduction="none")
    assert torch.allclose(lq(x, target, right=0.0, wrong=0.0), by_torch)
    assert torch.allclose(lq(x, target, right=1e-7, wrong=1e-7), by_torch, rtol=1e-5)


def test_lq_is_one_minus_p_where_right():
    x = logits(1, 6)[0]
    p = x.softmax(-1)
    assert torch.allclose(lq(x, x.argmax(-1)), 1 - p.amax(-1))
    assert torch.allclose(lq(x, x.argmin(-1)), 10 * (1 - p.amin(-1) ** 0.1))


@pytest.mark.parametrize("q", [0.0, 0.1, 1.0])
def test_lq_has_finite_gradients_at_extreme_logits(q):
    x = torch.tensor([[200.0, -200.0], [-200.0, 200.0]], requires_grad=True)
    lq(x, torch.tensor([0, 0]), wrong=q).sum().backward()
    assert x.grad.isfinite().all()


def test_a_row_that_lacks_a_modality_adds_no_loss_there():
    x, target = logits(2, 2), torch.tensor([1, 2])
    named = dict(zip("ab", x, strict=True))
    here = torch.tensor([[True, True], [False, True]])
    losses = emc(named, x[0], target, here)
    assert torch.allclose(losses["unimodal/a"], lq(x[0], target).mean())
    assert torch.allclose(losses["unimodal/b"], lq(x[1], target)[1] / 2)
    assert torch.allclose(losses["fused"], lq(x[0], target).mean())


@pytest.mark.parametrize("low", [torch.bfloat16, torch.float16])
def test_low_precision_is_raised_and_double_kept(low):
    assert full(PAIR.to(low)).dtype == torch.float32
    assert full(PAIR.double()).dtype == torch.float64
    x = PAIR.to(low)
    for score in SCORES:
        assert torch.equal(uncertainty(x, score), uncertainty(x.float(), score))
    alpha = concentrations(x)
    assert alpha.dtype == evidential(alpha.to(low), torch.tensor([0])).dtype == torch.float32
    assert lq(x, torch.tensor([0])).dtype == torch.float32


# rows


def test_rows_are_collected_in_order_with_who_is_present():
    g = torch.Generator().manual_seed(0)
    batches = [
        Batch(
            {m: torch.randn(n, 3, generator=g) for m in "ab"},
            torch.arange(n) % 3,
            torch.arange(n),
            {"b": torch.arange(n) > 0},
        )
        for n in (2, 3)
    ]
    rows = collect(lambda batch: batch.inputs, batches)
    assert rows.logits.shape == (2, 5, 3)
    assert torch.equal(rows.logits[1, 2:], batches[1].inputs["b"])
    assert rows.target.tolist() == [0, 1, 0, 1, 2]
    assert rows.present.tolist() == [[True] * 5, [False, True, False, True, True]]
    assert torch.equal(rows.correct, rows.logits.argmax(-1) == rows.target)
    assert torch.equal(present_in(batches[0], "ab"), rows.present[:, :2])
