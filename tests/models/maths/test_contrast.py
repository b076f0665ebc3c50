"""Contrast with centroids, and mixtures of weights: against plain loops and torch's own cross-entropy."""

import pytest
import torch
from torch.nn.functional import cross_entropy, normalize

from sweeper.models.maths.attention import mixed, ratio
from sweeper.models.maths.contrast import (
    centroids,
    contrast,
    group_scores,
    in_entities,
    masked,
    mean_over_ranks,
)

ROWS, MEMBERS, WIDTH = 6, 3, 4


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).double()


def members(seed=0):
    """Unit vectors (B, M, d) of which some are absent, and which are there."""
    present = torch.ones(ROWS, MEMBERS, dtype=torch.bool)
    present[0, 1] = present[1, 0] = present[1, 2] = present[4, 2] = False
    return normalize(drawn(ROWS, MEMBERS, WIDTH, seed=seed), dim=-1) * present.unsqueeze(-1), present


def test_a_row_is_an_entity_with_two_members():
    _, present = members()
    expected = present.clone()
    expected[1] = False
    assert torch.equal(in_entities(present), expected)


@pytest.mark.parametrize("leave_out", [False, True])
def test_centroids_are_unit_means_of_the_members_that_are_there(leave_out):
    own, present = members()
    found = centroids(own, leave_out)
    for i, m in in_entities(present).nonzero().tolist():
        kept = [k for k in range(MEMBERS) if present[i, k] and not (leave_out and k == m)]
        torch.testing.assert_close(found[i, m], normalize(own[i, kept].mean(0), dim=-1))


@pytest.mark.parametrize("leave_out", [False, True])
def test_scores_are_cosines_with_the_centroid_of_each_label(leave_out):
    own, present = members()
    labels = torch.tensor([[1, 0], [0, 1], [1, 1], [0, 0], [0, 1], [1, 0]]).double()
    scores, number = group_scores(own, present, labels, own, present, labels, leave_out)
    for i, m in present.nonzero().tolist():
        for label in range(2):
            kept = [
                own[t, k]
                for t, k in present.nonzero().tolist()
                if labels[t, label] and not (leave_out and (t, k) == (i, m))
            ]
            assert number[i, m, label] == len(kept)
            cosine = own[i, m] @ normalize(torch.stack(kept).mean(0), dim=-1)
            torch.testing.assert_close(scores[i, m, label], cosine)


def test_with_one_positive_each_the_contrast_is_cross_entropy():
    scores, target = drawn(ROWS, 5), torch.tensor([0, 4, 2, 2, 1, 3])
    positive, usable = torch.eye(5, dtype=torch.bool)[target], torch.ones(ROWS, 5, dtype=torch.bool)
    loss, found = contrast(scores, positive, usable)
    torch.testing.assert_close(loss, cross_entropy(scores, target, reduction="none"))
    assert found.all()
    some = usable.clone()
    some[:, 3] = False
    loss, found = contrast(scores, positive, some)
    kept = target != 3
    expected = cross_entropy(masked(scores, some)[kept], target[kept], reduction="none")
    torch.testing.assert_close(loss[kept], expected)
    assert found.tolist() == kept.tolist()
    assert loss[~kept].tolist() == [0]


def test_an_extra_negative_is_one_more_class():
    scores, extra = drawn(ROWS, 5), drawn(ROWS, seed=1)
    positive, usable = torch.eye(5, dtype=torch.bool)[[0] * ROWS], torch.ones(ROWS, 5, dtype=torch.bool)
    loss, _ = contrast(scores, positive, usable, extra)
    both = torch.cat([scores, extra.unsqueeze(-1)], 1)
    torch.testing.assert_close(loss, cross_entropy(both, torch.zeros(ROWS, dtype=int), reduction="none"))


def test_the_mean_is_over_what_counts():
    losses, counted = torch.tensor([1.0, 5.0, 3.0]), torch.tensor([True, False, True])
    assert mean_over_ranks(losses, counted) == 2
    assert mean_over_ranks(losses, torch.zeros(3, dtype=torch.bool)) == 0


def test_weights_sum_to_1_over_the_members_that_are_there():
    _, present = members()
    gamma = ratio(drawn(ROWS, MEMBERS, WIDTH), present)
    assert (gamma >= 0).all()
    assert not gamma[~present].any()
    torch.testing.assert_close(gamma.sum(1), torch.ones(ROWS, WIDTH).double())
    for chosen in (*torch.eye(3), torch.tensor([0.2, 0.3, 0.5])):
        found = mixed(gamma, chosen.double().expand(ROWS, 3), present)
        assert not found[~present].any()
        torch.testing.assert_close(found.sum(1), torch.ones(ROWS, WIDTH).double())


def test_equal_features_weigh_equally():
    _, present = members()
    gamma = ratio(torch.full((ROWS, MEMBERS, WIDTH), 0.7).double(), present)
    expected = (present / present.sum(1, keepdim=True)).unsqueeze(-1).expand_as(gamma)
    torch.testing.assert_close(gamma, expected.double())
