"""CL-DMDF: its contrast and its weights by hand and by plain loops, and what each reading changes."""

import dataclasses
import math
from collections import defaultdict
from functools import partial

import pytest
import torch
from torch.nn.functional import one_hot, softplus

from sweeper.models.errors import UserError
from sweeper.models.maths.attention import mixed, ratio
from sweeper.models.maths.contrast import centroids, contrast, group_scores
from sweeper.models.maths.running import BatchNorm
from sweeper.models.methods.cl_dmdf import ClDmdf
from sweeper.models.schema.entries import entry
from sweeper.models.tasks.regression import Regression
from tests.models import toys
from tests.models.cases import build, fit, synthetic
from tests.models.toys import CLASSES, ONE, THREE, TWO, context, method_of, taken

WIDTH, ROWS = 16, 12

toy = partial(method_of, ClDmdf, widths=6, dtype=torch.float64, d=WIDTH)
batch_of = partial(toys.batch_of, rows=ROWS, dtype=torch.float64)


def lacking(rows=ROWS, seed=2):
    """Some rows have three modalities, some two, some one."""
    there = torch.rand(rows, 3, generator=torch.Generator().manual_seed(seed)) > 0.4
    there[:, 0] |= ~there.any(-1)
    assert set(there.sum(-1).tolist()) == {1, 2, 3}
    return dict(zip(THREE, there.unbind(-1), strict=True))


def gamma_of(output):
    return torch.stack([v for k, v in output.extra.items() if k.startswith("weight/")], -1)


def toy_scores(leave_out):
    """Two rows, two modalities; what is red in one row points where green does in the other."""
    q = torch.tensor([[[1.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [1.0, 0.0]]])
    return torch.einsum("bmd,tmd->bmt", q, centroids(q, leave_out))


def everything(scores):
    return torch.ones_like(scores, dtype=torch.bool)


# centroids


def test_the_centroid_of_two_members_is_the_other_member():
    members = torch.nn.functional.normalize(torch.randn(5, 2, 7), dim=-1)
    assert torch.allclose(centroids(members, leave_out=True), members.flip(1))


def test_with_the_anchor_in_its_centroid_right_angles_score_071():
    right = torch.eye(2)[None]
    assert (right * centroids(right, leave_out=False)).sum(-1).tolist() == [
        [pytest.approx(0.5**0.5), pytest.approx(0.5**0.5)]
    ]
    assert (right * centroids(right, leave_out=True)).sum(-1).tolist() == [[0, 0]]


def test_absent_members_are_no_part_of_a_centroid():
    members = torch.nn.functional.normalize(torch.randn(1, 3, 7), dim=-1)
    members[0, 1] = 0
    found = centroids(members, leave_out=True)[0]
    assert torch.allclose(found[0], members[0, 2])
    assert torch.allclose(found[2], members[0, 0])


# the contrast


@pytest.mark.parametrize("tau", [0.1, 0.5, 2.0])
def test_contrast_golden(tau):
    scores = toy_scores(leave_out=True)
    assert torch.equal(scores[0], torch.tensor([[0.0, 1.0], [0.0, 1.0]]))
    positive = torch.eye(2, dtype=torch.bool).unsqueeze(1)
    loss, found = contrast(scores / tau, positive, everything(scores))
    assert torch.allclose(loss, torch.tensor(math.log(1 + math.exp(1 / tau))))
    assert found.all()
    leaked, _ = contrast(toy_scores(leave_out=False) / tau, positive, everything(scores))
    assert torch.allclose(leaked, torch.tensor(math.log(2)))


def test_contrast_averages_over_positives_and_counts_the_extra_negative():
    scores, extra = torch.tensor([[3.0, 1.0, 2.0]]), torch.tensor([0.5])
    positive = torch.tensor([[True, True, False]])
    total = math.log(sum(math.exp(s) for s in (3, 1, 2, 0.5)))
    loss, _ = contrast(scores, positive, everything(scores), extra)
    assert loss.item() == pytest.approx(((total - 3) + (total - 1)) / 2)


def test_what_is_not_usable_is_neither_positive_nor_negative():
    scores = torch.tensor([[3.0, 1.0, 2.0], [3.0, 1.0, 2.0]], requires_grad=True)
    positive = torch.tensor([[True, True, False], [True, False, False]])
    usable = torch.tensor([[False, True, True], [False, False, False]])
    loss, found = contrast(scores, positive, usable)
    assert loss.tolist() == [pytest.approx(math.log(math.exp(1) + math.exp(2)) - 1), 0]
    assert found.tolist() == [True, False]
    loss.sum().backward()
    assert torch.isfinite(scores.grad).all()


def by_loops(method, features, batch):
    """L_contra of the reading `entity`, as printed in the specification."""
    names, n = list(features), len(batch)
    there = {m: batch.present.get(m, torch.ones(n, dtype=torch.bool)) for m in names}
    e = {m: method.members[m].embedding for m in names}
    raw = {m: features[m] + e[m] for m in names}
    q = {m: raw[m] / raw[m].norm(dim=-1, keepdim=True) for m in names}
    has = [[m for m in names if there[m][i]] for i in range(n)]
    entities = [i for i in range(n) if len(has[i]) >= 2]

    def centroid(t, m):
        kept = [k for k in has[t] if k != m or not method.leave_out]
        mean = sum(q[k][t] for k in kept) / len(kept)
        return mean / mean.norm()

    terms = []
    for i in entities:
        for m in has[i]:
            s = {t: (q[m][i] @ centroid(t, m) / method.tau).exp() for t in entities}
            r = {t: (raw[m][t] @ e[m] / method.tau).exp() for t in entities if m in has[t]}
            extra = {"prob": r[i] / sum(r.values()), "exp": r[i], "none": 0.0}[method.modality_neg]
            positives = [
                t for t in entities if t == i or (method.positives == "same_label" and _share(batch, i, t))
            ]
            total = sum(s.values()) + extra
            terms.append(sum(-(s[t] / total).log() for t in positives) / len(positives))
    return sum(terms) / len(terms)


def _share(batch, i, t):
    if batch.target.dim() == 1:
        return batch.target[i] == batch.target[t]
    return bool((batch.target[i] * batch.target[t]).any())


@pytest.mark.parametrize("lack", [False, True])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"modality_neg": "exp", "tau": 0.5},
        {"modality_neg": "none", "centroid": "incl_self"},
        {"positives": "same_label"},
        {"positives": "same_label", "centroid": "incl_self"},
    ],
    ids=str,
)
def test_the_contrast_is_what_plain_loops_give(options, lack):
    method, batch = toy(THREE, n=2, **options), batch_of(THREE, present=lacking() if lack else None)
    features = method(batch).features
    assert torch.allclose(method.contrastive(features, batch), by_loops(method, features, batch))


@pytest.mark.parametrize("modality_neg", ["prob", "exp", "none"])
@pytest.mark.parametrize("positives", ["entity", "same_label"])
def test_a_row_with_one_member_is_as_if_it_were_not_there(positives, modality_neg):
    method = toy(THREE, positives=positives, modality_neg=modality_neg).eval()
    batch = batch_of(THREE, present=lacking())
    whole = taken(batch, torch.stack(list(batch.present.values())).sum(0) >= 2)
    losses = [method.contrastive(method(b).features, b) for b in (batch, whole)]
    assert len(whole) < len(batch)
    assert torch.allclose(*losses)


def test_one_modality_has_nothing_to_contrast_but_its_labels():
    batch = batch_of(ONE)
    assert toy(ONE).contrastive(toy(ONE)(batch).features, batch) == 0
    method = toy(ONE, positives="label_centroid")
    assert method.contrastive(method(batch).features, batch) > 0


def test_the_printed_modality_negative_is_next_to_nothing():
    """At a batch of 64 it is 1/64 in a sum of 64 terms around one; as a logit of its own it counts."""
    batch = batch_of(THREE, rows=64)
    found = {}
    for kind in ("none", "prob", "exp"):
        method = toy(THREE, d=256, tau=1.0, modality_neg=kind)
        found[kind] = method.contrastive(method(batch).features, batch).item()
    assert 1e-4 < found["prob"] - found["none"] < 4e-4
    assert found["exp"] - found["none"] > 20 * (found["prob"] - found["none"])


# labels as positives


def label_loops(own, labels, present, leave_out, tau):
    """Reading C, anchor by anchor."""
    terms = []
    for i, m in present.nonzero().tolist():
        s = {}
        for c in range(labels.shape[1]):
            kept = [
                own[t, k]
                for t, k in present.nonzero().tolist()
                if labels[t, c] and not (leave_out and (t, k) == (i, m))
            ]
            if kept:
                mean = sum(kept) / len(kept)
                s[c] = own[i, m] @ (mean / mean.norm()) / tau
        positives = [c for c in s if labels[i, c]]
        if positives:
            total = torch.stack(list(s.values())).logsumexp(0)
            terms.append(sum(total - s[c] for c in positives) / len(positives))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("centroid", ["loo", "incl_self"])
@pytest.mark.parametrize("multilabel", [False, True])
def test_label_centroids_are_what_plain_loops_give(multilabel, centroid):
    method = toy(THREE, positives="label_centroid", centroid=centroid, modality_neg="none")
    batch = batch_of(THREE, present=lacking())
    batch.target[:] = torch.tensor([0, 1, 2] * 3 + [0, 1, 3])  # nobody shares the last label
    labels = one_hot(batch.target, CLASSES)
    if multilabel:
        labels[::2, 1] = 1
        batch = dataclasses.replace(batch, target=labels.double())
    present = torch.stack(list(batch.present.values()), -1)
    features = method(batch).features
    embeddings = torch.stack([f + method.members[m].embedding for m, f in features.items()], 1)
    own = torch.nn.functional.normalize(embeddings, dim=-1) * present.unsqueeze(-1)
    expected = label_loops(own, labels, present, centroid == "loo", method.tau)
    assert torch.allclose(method.contrastive(features, batch), expected)


def test_rows_that_share_any_of_several_labels_are_positives():
    method, batch = toy(positives="same_label"), batch_of()
    labels = torch.zeros(ROWS, CLASSES, dtype=torch.float64)
    labels[:6, 0] = labels[4:9, 1] = 1  # the last three rows have none
    batch = dataclasses.replace(batch, target=labels)
    features = method(batch).features
    assert torch.allclose(method.contrastive(features, batch), by_loops(method, features, batch))


def test_a_label_that_only_the_anchor_has_is_no_centroid():
    own = torch.nn.functional.normalize(torch.randn(2, 1, 3), dim=-1)
    labels, there = torch.eye(2), torch.ones(2, 1, dtype=torch.bool)
    _, others = group_scores(own, there, labels, own, there, labels, leave_out=True)
    assert others[:, 0].tolist() == [[0, 1], [1, 0]]


@pytest.mark.parametrize("positives", ["same_label", "label_centroid"])
def test_labels_are_refused_where_there_are_none(positives):
    with pytest.raises(UserError, match=f"positives is {positives}; admissible: entity"):
        toy(task=Regression, positives=positives)
    toy(task=Regression)


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_every_task_trains(task):
    data = synthetic(3, task=task, missing=0.2)
    labelled = task != "regression"
    for positives in ("entity", "same_label", "label_centroid")[: 3 if labelled else 1]:
        method = build({"name": "cl_dmdf", "positives": positives, "d": 32}, data, fusion=None)
        curve = fit(method, data, metric=method.task.headline).curve
        assert curve[-1]["loss/task"] < curve[0]["loss/task"]
        assert curve[-1]["loss/contrast"] < curve[0]["loss/contrast"]


# what the losses train


def trained_by(method, loss):
    loss.backward()
    return {n for n, p in method.named_parameters() if p.grad is not None and p.grad.abs().max() > 0}


@pytest.mark.parametrize("modality_neg", ["prob", "none"])
def test_detached_the_contrast_trains_the_modality_embeddings_alone(modality_neg):
    method, batch = toy(detached=True, modality_neg=modality_neg), batch_of()
    found = trained_by(method, method.contrastive(method(batch).features, batch))
    assert found == {f"members.{m}.embedding" for m in TWO}


def test_the_contrast_trains_encoders_too():
    method, batch = toy(), batch_of()
    found = trained_by(method, method.contrastive(method(batch).features, batch))
    assert any(name.startswith("net.encoders.red") for name in found)
    assert not any(name.startswith(("head", "feature_gates")) for name in found)


@pytest.mark.parametrize(
    "options",
    [{}, {"gate": "soft"}, {"gate": "hard"}, {"attn": "ratio"}, {"fuse": "features"}],
    ids=str,
)
def test_both_losses_train_everything(options):
    method, batch = toy(THREE, n=1, **options), batch_of(THREE, rows=64, present=lacking(64))
    (objective,) = method.objectives(batch, context())
    assert objective.losses.keys() == {"task", "contrast"}
    found = trained_by(method, objective.total)
    idle = {f"members.{m}.bias" for m in THREE} if options.get("attn") == "ratio" else set()
    idle |= {n for n in found ^ dict(method.named_parameters()).keys() if "net.encoders" in n}  # dead ReLUs
    assert found | idle == dict(method.named_parameters()).keys()


def test_without_weight_there_is_no_contrast_and_weights_are_logged():
    logged = defaultdict(list)
    method = toy(lambda_con=0.0)
    (objective,) = method.objectives(batch_of(), context(logged=logged))
    assert objective.losses.keys() == {"task"}
    assert set(logged) == {"weight/red", "weight/green"}
    assert sum(v for values in logged.values() for v in values) == pytest.approx(1)


def test_the_contrast_is_weighed():
    batch = batch_of()
    (one,), (ten) = (toy(lambda_con=w).objectives(batch, context()) for w in (0.1, 1.0))
    assert next(ten).losses["contrast"].item() == pytest.approx(10 * one.losses["contrast"].item())


# attention and fusion


def test_the_fused_features_are_what_plain_loops_give():
    method, batch = toy(THREE, n=1), batch_of(THREE, present=lacking())
    output = method(batch)
    for i in range(ROWS):
        names = [m for m in THREE if batch.present[m][i]]
        f = {m: output.features[m][i] for m in names}
        e = {m: method.members[m].embedding for m in names}
        score = torch.stack([f[m] @ e[m] / WIDTH**0.5 + method.members[m].bias for m in names])
        gamma = score.softmax(0)
        gates = {m: method.feature_gates[m](f[m]).sigmoid() for m in names}
        fused = sum(g * gates[m] * (f[m] + e[m]) for g, m in zip(gamma, names, strict=True))
        assert torch.allclose(output.fused[i], method.head(fused))
        assert torch.allclose(torch.stack([output.extra[f"weight/{m}"][i] for m in names]), gamma)


READINGS = [
    {},
    {"attn": "ratio"},
    {"fuse": "features"},
    {"gate": "soft"},
    {"gate": "hard"},
    {"attn": "ratio", "gate": "soft"},
]


@pytest.mark.parametrize("options", READINGS, ids=str)
def test_a_modality_alone_is_read_out_as_if_all_others_were_absent(options):
    method, batch = toy(THREE, n=1, **options).eval(), batch_of(THREE)
    whole = method(batch)
    for m in THREE:
        there = {k: torch.full((ROWS,), k == m) for k in THREE}
        assert torch.allclose(whole.unimodal[m], method(dataclasses.replace(batch, present=there)).fused)


@pytest.mark.parametrize("options", READINGS, ids=str)
def test_weights_sum_to_one_and_absent_modalities_have_none(options):
    method, batch = toy(THREE, n=1, **options), batch_of(THREE, present=lacking())
    gamma = gamma_of(method(batch))
    assert torch.allclose(gamma.sum(-1), torch.ones(ROWS, dtype=torch.float64))
    assert (gamma[~torch.stack(list(batch.present.values()), -1)] == 0).all()


@pytest.mark.parametrize("options", READINGS, ids=str)
def test_permuted_modalities_have_permuted_weights(options):
    order = ("blue", "red", "green")
    method, turned = toy(THREE, n=1, **options), toy(order, **options)
    turned.load_state_dict(method.state_dict())
    batch = batch_of(THREE, present=lacking())
    one, other = method(batch), turned(batch)
    assert torch.allclose(one.fused, other.fused)
    assert all(torch.allclose(v, other.extra[name]) for name, v in one.extra.items())


def test_the_ratio_is_line_23_over_its_sum():
    g = torch.Generator().manual_seed(0)
    features, embeddings = (torch.randn(5, 3, 7, generator=g, dtype=torch.float64) for _ in range(2))
    v = softplus(features) + 1e-6
    total, average = v.sum(1, keepdim=True), v.mean(1, keepdim=True)
    printed = v * embeddings.sum(1, keepdim=True) / (v + average * (total + 3))
    printed = printed / printed.sum(1, keepdim=True)
    assert torch.allclose(ratio(features, torch.ones(5, 3, dtype=torch.bool)), printed)


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4, -1e4])
def test_the_ratio_is_finite_and_so_is_its_gradient(scale):
    features = (scale * torch.rand(50, 3, 7)).requires_grad_()
    there = torch.ones(50, 3, dtype=torch.bool)
    there[::2, 1] = False
    found = ratio(features, there)
    found.square().sum().backward()
    assert torch.isfinite(found).all()
    assert torch.isfinite(features.grad).all()
    assert torch.allclose(found.sum(1), torch.ones(50, 7))


def test_the_gate_mixes_the_fusions_by_the_best_the_mean_and_the_attention():
    gamma = torch.tensor([[[0.6], [0.4], [0.0]], [[0.2], [0.3], [0.5]]])
    there = torch.tensor([[True, True, False], [True, True, True]])
    for k, expected in enumerate([[[1, 0, 0], [0, 0, 1]], [[1 / 2, 1 / 2, 0], [1 / 3] * 3], None]):
        chosen = torch.zeros(2, 3)
        chosen[:, k] = 1
        found = mixed(gamma, chosen, there)
        assert torch.allclose(
            found, gamma if expected is None else torch.tensor(expected).float().unsqueeze(-1)
        )
    found = mixed(gamma, torch.tensor([[0.5, 0.3, 0.2]] * 2), there)[0, :, 0]
    assert found.tolist() == pytest.approx([0.5 + 0.15 + 0.12, 0.15 + 0.08, 0])


def test_a_hard_gate_chooses_one():
    soft, hard = (toy(THREE, n=1, gate=kind) for kind in ("soft", "hard"))
    plain = toy(THREE, n=1)
    hard.load_state_dict(soft.state_dict())
    plain.load_state_dict(soft.state_dict(), strict=False)
    batch = batch_of(THREE)
    gamma = gamma_of(plain(batch))
    choices = torch.stack([one_hot(gamma.argmax(-1), 3), torch.full_like(gamma, 1 / 3), gamma])
    distance = (gamma_of(hard(batch)) - choices).abs().amax(-1)
    assert distance.amin(0).max() < 1e-9
    assert (gamma_of(soft(batch)) - choices).abs().amax(-1).min() > 1e-4


# batch norm, and modalities that are dropped


def test_batch_norm_is_torchs():
    ours, theirs = BatchNorm(4).double(), torch.nn.BatchNorm1d(4).double()
    for _ in range(3):
        x = 3 + 2 * torch.randn(9, 4, dtype=torch.float64)
        assert torch.allclose(ours(x, torch.ones(9, dtype=torch.bool)), theirs(x))
    assert torch.allclose(ours.mean, theirs.running_mean)
    assert torch.allclose(ours.variance, theirs.running_var)
    assert torch.allclose(ours.eval()(x, torch.ones(9, dtype=torch.bool)), theirs.eval()(x))


def test_batch_norm_leaves_absent_rows_out():
    one, other = BatchNorm(4), BatchNorm(4)
    x, there = torch.randn(9, 4), torch.arange(9) < 6
    assert torch.allclose(one(x, there)[:6], other(x[:6], there[:6]))
    assert torch.allclose(one.variance, other.variance)


@pytest.mark.parametrize("rows", [0, 1])
def test_batch_norm_of_fewer_than_two_rows_uses_what_it_has_seen(rows):
    norm, x = BatchNorm(4), torch.randn(9, 4, requires_grad=True)
    norm(x, torch.ones(9, dtype=torch.bool))
    seen = norm.mean.clone(), norm.variance.clone()
    found = norm(x, torch.arange(9) < rows)
    found.square().sum().backward()
    assert torch.equal(norm.mean, seen[0])
    assert torch.equal(norm.variance, seen[1])
    assert torch.allclose(found, norm.eval()(x, torch.arange(9) < rows))
    assert torch.isfinite(x.grad).all()


def test_modalities_are_dropped_as_often_as_asked_but_never_all():
    method, batch = toy(THREE, moddrop=0.5), batch_of(THREE, rows=4000)
    there = torch.stack(list(method._dropped(batch, context()).present.values()), -1)
    assert there.any(-1).all()
    assert there.double().mean().item() == pytest.approx(0.5 + 0.5**3, abs=0.02)
    again, later = (method._dropped(batch, context(step=s)).present["red"] for s in (0, 1))
    assert torch.equal(there[:, 0], again)
    assert not torch.equal(there[:, 0], later)


def test_what_a_row_lacks_it_does_not_get_back():
    method, batch = toy(THREE, moddrop=0.5), batch_of(THREE, present=lacking())
    dropped = method._dropped(batch, context()).present
    assert all((~dropped[m] | batch.present[m]).all() for m in THREE)


def test_modalities_are_dropped_in_training_only():
    method, batch = toy(THREE, moddrop=0.5), batch_of(THREE)
    (objective,) = method.objectives(batch, context())
    assert (gamma_of(objective.output) == 0).any()
    assert not (gamma_of(method.eval()(batch)) == 0).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"d": 0}, "d is 0; admissible: a whole number from 1"),
        ({"n": 0}, "n is 0; admissible: a whole number from 1 | null"),
        ({"tau": 0.0}, "tau is 0.0; admissible: a number above 0"),
        ({"lambda_con": -1.0}, "lambda_con is -1.0; admissible: a number from 0"),
        ({"moddrop": 1.0}, "moddrop is 1.0; admissible: a number from 0 to below 1"),
    ],
)
def test_inadmissible_values_are_refused_in_a_sentence(options, words):
    with pytest.raises(UserError, match=words.replace("|", "[|]")):
        entry("method", "cl_dmdf").check(options)
