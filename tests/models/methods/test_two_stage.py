"""The two-stage methods: stage 1's forward and loss by hand, stage 2's weights, what they share and store."""

import dataclasses

import pytest
import torch
from torch.nn.functional import cross_entropy

from sweeper.models.errors import UserError
from sweeper.models.maths import regressors
from sweeper.models.maths.evidence import Rows, trust, uncertainty
from sweeper.models.maths.presence import present_in
from sweeper.models.maths.reliability import correlation
from sweeper.models.schema.entries import entry
from sweeper.models.streams import torch_stream
from sweeper.models.training.run import check_builds
from sweeper.models.training.splits import splits_of
from sweeper.models.values import Batch
from tests.models.cases import SETTINGS, build, fit, synthetic

METHODS = ("eruw", "rw")


def made(name, data=None, **options):
    quick = {"rw": {"regressor": "lr"}}.get(name, {})
    return build({"name": name, **quick, **options}, data or synthetic(), fusion=None)


def batch_of(data, rows=12):
    return next(splits_of(data, made("eruw", data), 0).train.batches(rows))


def logits_of(method, batch):
    return method.heads(method.net.encode(batch))


def trained(name, data=None, epochs=3, **options):
    data = data or synthetic()
    method = made(name, data, **options)
    fit(method, data, dataclasses.replace(SETTINGS, epochs=epochs))
    return method.eval()


def objective(method, batch, logged=None):
    ctx = type("Ctx", (), {"log": staticmethod((logged if logged is not None else {}).__setitem__)})
    (found,) = method.objectives(batch, ctx)
    return found


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("modalities", [2, 3])
def test_stage_one_weighs_logits_by_ratio_uncertainty(name, modalities):
    data = synthetic(modalities)
    method, batch = made(name, data), batch_of(data)
    output, logits = method(batch), logits_of(method, batch)
    sure = {m: 1 - uncertainty(x) for m, x in logits.items()}
    total = sum(sure.values())
    by_hand = sum((sure[m] / total).unsqueeze(-1) * x for m, x in logits.items())
    assert torch.allclose(output.fused, by_hand, atol=1e-6)
    for m in logits:
        assert torch.equal(output.unimodal[m], logits[m])
        assert torch.allclose(output.extra[f"weight/{m}"], sure[m] / total, atol=1e-6)
        assert torch.allclose(output.extra[f"uncertainty/{m}"], 1 - sure[m])
    assert torch.allclose(output.extra["uncertainty"], uncertainty(output.fused))


@pytest.mark.parametrize("name", METHODS)
def test_the_loss_is_one_term_per_head_and_one_for_the_sum(name):
    data = synthetic(3)
    method, batch, logged = made(name, data), batch_of(data), {}
    found = objective(method, batch, logged)
    assert set(found.losses) == {"unimodal/m0", "unimodal/m1", "unimodal/m2", "fused"}
    logits = torch.stack([*found.output.unimodal.values(), found.output.fused])
    p = logits.softmax(-1)[:, torch.arange(12), batch.target]
    right = logits.argmax(-1) == batch.target
    by_hand = torch.where(right, 1 - p, (1 - p**0.1) / 0.1).mean(1).sum()
    assert torch.allclose(found.total, by_hand, atol=1e-5)
    assert logged == pytest.approx(
        {f"weight/{m}": found.output.extra[f"weight/{m}"].mean().item() for m in data.spec.modalities}
    )


@pytest.mark.parametrize("name", METHODS)
def test_q_of_zero_is_cross_entropy(name):
    data = synthetic()
    method, batch = made(name, data, q_right=0.0, q_wrong=0.0), batch_of(data)
    found = objective(method, batch)
    for m, x in found.output.unimodal.items():
        assert torch.allclose(found.losses[f"unimodal/{m}"], cross_entropy(x, batch.target))
    assert torch.allclose(found.losses["fused"], cross_entropy(found.output.fused, batch.target))


@pytest.mark.parametrize("name", METHODS)
def test_stage_one_is_the_same_in_both_methods(name):
    data = synthetic()
    expected = trained("eruw", data)
    found = made(name, data, **({"held_out_fraction": 0.0} if name == "rw" else {}))
    fit(found, data)
    for key, value in expected.net.state_dict().items():
        assert torch.equal(found.net.state_dict()[key], value), key


@pytest.mark.parametrize("name", METHODS)
def test_a_rows_absent_modality_has_no_say_before_and_after_training(name):
    data = synthetic(3, missing=0.4)
    method = trained(name, data)
    batch = batch_of(data)
    output, present = method(batch), present_in(batch, data.spec.modalities)
    assert not present.all()
    for m, here in zip(data.spec.modalities, present, strict=True):
        assert output.extra[f"weight/{m}"][~here].eq(0).all()
        assert output.extra[f"uncertainty/{m}"][~here].eq(1).all()
    other = Batch(
        {m: x.where(p.unsqueeze(-1), 7.0) for (m, x), p in zip(batch.inputs.items(), present, strict=True)},
        batch.target,
        batch.index,
        batch.present,
    )
    assert torch.equal(method(other).fused, output.fused)


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_autocast_trains_with_weights_in_single_precision(name):
    data = synthetic()
    method, batch = made(name, data), batch_of(data)
    with torch.autocast("cpu", torch.bfloat16):
        found = objective(method, batch)
    assert found.output.unimodal["m0"].dtype == torch.bfloat16
    assert {x.dtype for x in found.output.extra.values()} == {torch.float32}
    assert {x.dtype for x in found.losses.values()} == {torch.float32}
    curve = fit(method, data, dataclasses.replace(SETTINGS, precision="bf16", epochs=5)).curve
    assert curve[-1]["loss/fused"] < curve[0]["loss/fused"]


@pytest.mark.parametrize("name", METHODS)
def test_one_modality_is_refused(name):
    with pytest.raises(UserError, match=f"{name!r} needs at least 2 modalities"):
        made(name, synthetic(1))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("options", [{"q_right": 1.5}, {"q_wrong": -0.1}])
def test_q_is_a_share(name, options):
    with pytest.raises(UserError, match="admissible: a number from 0 to 1"):
        made(name, **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"held_out_fraction": 0.0, "fit_rows": "held_out"},
            "held_out_fraction is 0; give it a share above 0",
        ),
        ({"least": 0.0}, "least is 0.0; admissible: a number above 0 and below 1"),
    ],
)
def test_rw_refuses_no_rows_and_no_bound(options, words):
    with pytest.raises(UserError, match=words):
        made("rw", **options)


# after training


@pytest.mark.parametrize("score", ["RC", "Evd", "PE", "LC", "MC", "ES"])
def test_eruw_weighs_by_its_score_once_trained_and_not_before(score):
    data = synthetic()
    expected, method = trained("eruw", data), trained("eruw", data, score=score)
    for name, value in expected.state_dict().items():
        assert torch.equal(method.state_dict()[name], value), name
    batch = batch_of(data)
    stacked = torch.stack(list(logits_of(method, batch).values()))
    weights = trust(stacked, torch.ones(2, 12, dtype=torch.bool), score)[1]
    assert torch.equal(method(batch).extra["weight/m1"], weights[1])
    untrained = made("eruw", data, score=score)
    assert torch.equal(untrained(batch).fused, made("eruw", data)(batch).fused)


@pytest.mark.parametrize("regressor", ["emlp", "lr", "rf", "svr"])
def test_rw_weighs_by_regressed_correctness(regressor):
    data = synthetic(3)
    method, batch = trained("rw", data, regressor=regressor), batch_of(data)
    output = method(batch)
    logits = torch.stack(list(logits_of(method, batch).values()))
    right = method.regressors[0](logits)
    weights = right.clamp_min(1e-3) / right.clamp_min(1e-3).sum(0)
    assert torch.allclose(output.fused, (weights.unsqueeze(-1) * logits).sum(0), atol=1e-6)
    for m, w, r in zip(logits_of(method, batch), weights, right, strict=True):
        assert torch.allclose(output.extra[f"weight/{m}"], w)
        assert torch.allclose(output.extra[f"uncertainty/{m}"], 1 - r)


@pytest.mark.parametrize("regressor", ["emlp", "rf"])
def test_reordering_modalities_permutes_the_regressed_weights(regressor):
    data, order = synthetic(3), ["m2", "m0", "m1"]
    spec = dataclasses.replace(data.spec, modalities={m: data.spec.modalities[m] for m in order})
    turned = dataclasses.replace(data, spec=spec, inputs={m: data.inputs[m] for m in order})
    methods = [
        build({"name": "rw", "regressor": regressor}, d, fusion=None, dtype=torch.float64)
        for d in (data, turned)
    ]
    methods[1].load_state_dict(methods[0].state_dict())
    found = []
    for method, d in zip(methods, (data, turned), strict=True):
        fit(method, d)
        batch = next(splits_of(d, method, 0).validation.batches(12))
        found.append(method.eval()(batch).extra)
    for m in order:
        assert torch.allclose(found[0][f"weight/{m}"], found[1][f"weight/{m}"], rtol=1e-6), m


def test_rw_fits_to_the_rows_it_is_told():
    data = synthetic()
    found = {
        rows: trained("rw", data, regressor="lr", fit_rows=rows).regressors[0].state
        for rows in ("both", "held_out", "train")
    }
    method = trained("rw", data, regressor="lr", fit_rows="held_out")
    splits = splits_of(data, method, 0)
    assert len(splits.held_out) > 0
    sources = {"held_out": (splits.held_out,), "train": (splits.train,)}
    sources["both"] = sources["train"] + sources["held_out"]
    for name, feeds in sources.items():
        regressor = method.regressors[0]
        method._regress(regressor, (batch for feed in feeds for batch in feed.batches(32)), torch_stream(0))
        for key, value in regressor.state.items():
            assert torch.allclose(value, found[name][key]), (name, key)
    assert not torch.allclose(found["train"]["weight"], found["held_out"]["weight"])


def test_a_batch_of_the_perceptron_is_all_rows_of_128_samples(monkeypatch):
    g = torch.Generator().manual_seed(0)
    present = torch.rand(3, 300, generator=g) < 0.7
    logits = torch.arange(300.0).expand(3, -1).unsqueeze(-1) + torch.zeros(3, 300, 4)  # a sample's number
    seen, forward = [], regressors._emlp
    monkeypatch.setattr(
        regressors, "_emlp", lambda state, x, keep: seen.append(x[:, 0]) or forward(state, x, keep)
    )
    rows = Rows(logits, torch.zeros(300, dtype=torch.long), present)
    regressors.Regressor("emlp", epochs=2).fit(rows, g)
    samples, every = [batch.unique().long() for batch in seen], present.any(0).nonzero().squeeze(-1)
    assert [len(own) for own in samples] == 2 * [128, 128, len(every) - 256]
    assert [len(batch) for batch in seen] == [int(present[:, own].sum()) for own in samples]
    for epoch in (samples[:3], samples[3:]):
        assert torch.equal(torch.cat(epoch).sort().values, every)
    assert not torch.equal(samples[0], samples[3])


NOISE = ["feature-10", "feature-40"]


def test_rw_weighs_by_the_regressor_of_the_condition_it_is_tested_under():
    data = synthetic()
    clean, matched = trained("rw", data), trained("rw", data, match="matched", noise=NOISE)
    assert matched.conditions == ("clean", *NOISE)
    batch = batch_of(data)
    assert torch.equal(matched(batch).extra["weight/m1"], clean(batch).extra["weight/m1"])
    weights = [matched(dataclasses.replace(batch, condition=c)).extra["uncertainty/m1"] for c in NOISE]
    assert weights[0].mean() < weights[1].mean()  # the same logits are trusted less where rows are noisier
    with pytest.raises(UserError, match=r"unknown condition .salt-5. in method .rw..*clean, feature-10"):
        matched(dataclasses.replace(batch, condition="salt-5"))


def test_only_regressors_matched_to_noise_limit_what_rw_is_tested_under():
    data, label = synthetic(), "feature-10@m0 (share 1)"
    assert made("rw", data).conditions is None
    assert made("rw", data, match="pooled", noise=NOISE).conditions is None
    matched = {"name": "rw", "match": "matched", "noise": ["feature-40", label]}
    assert made(**matched, data=data).conditions == ("clean", "feature-40", label)
    payload = {"method": matched, "encoders": {}, "fusion": None, "seed": 0, "conditions": ["clean", label]}
    check_builds(data.spec, payload)
    with pytest.raises(UserError, match=r"'rw' cannot be tested under 'feature-10'; admissible: clean, feat"):
        check_builds(data.spec, payload | {"conditions": ["feature-10"]})


def test_rw_pools_the_rows_of_all_conditions():
    data = synthetic()
    method = trained("rw", data, regressor="lr", match="pooled", noise=NOISE, fit_rows="train")
    train = splits_of(data, method, 0).train
    rows = [batch for name in ("clean", *NOISE) for batch in train.under(name).batches(32)]
    assert {batch.condition for batch in rows} == {"clean", *NOISE}
    found = method.regressors[0].state
    method._regress(method.regressors[0], rows, torch_stream(0))
    for key, value in method.regressors[0].state.items():
        assert torch.allclose(value, found[key]), key


def test_rw_matched_to_no_noise_is_rw():
    data = synthetic()
    clean, matched = trained("rw", data), trained("rw", data, match="matched", noise=[])
    for name, value in clean.state_dict().items():
        assert torch.equal(matched.state_dict()[name], value), name


def test_regressors_share_the_stage_one_of_one_checkpoint(tmp_path):
    """The last checkpoint of a run resumes as any other regressor's, and no epoch is trained."""
    data = synthetic()
    path = tmp_path / "stage1.pt"
    fit(made("rw", data, regressor="lr"), data, resume=path)
    for regressor in ("rf", "svr", "emlp"):
        epochs = []
        method = made("rw", data, regressor=regressor)
        outcome = fit(method, data, resume=path, on_epoch=epochs.append)
        alone = made("rw", data, regressor=regressor)
        assert outcome == fit(alone, data)
        assert epochs == []
        for name, value in alone.state_dict().items():
            assert torch.equal(method.state_dict()[name], value), name


@pytest.mark.parametrize("name", METHODS)
def test_what_stage_one_does_not_read_is_declared(name):
    own = entry("method", name)
    declared = own.facts["after_training"]
    assert set(declared) <= set(own.parameters)
    data = synthetic()
    expected = trained(name, data)
    other = {
        "score": "Evd",
        "regressor": "svr",
        "fit_rows": "train",
        "order": "raw",
        "match": "pooled",
        "noise": ["feature-10"],
        "least": None,
        "emlp_width": 8,
        "emlp_dropout": 0.0,
        "emlp_lr": 0.1,
        "emlp_weight_decay": 0.0,
        "rf_leaves": 5,
        "svr_c": 2.0,
        "svr_rows": 10,
    }
    method = trained(name, data, **{key: other[key] for key in declared})
    for key, value in expected.state_dict().items():
        if not key.startswith("regressors."):
            assert torch.equal(method.state_dict()[key], value), key


def test_a_fitted_method_is_restored_from_its_state():
    data = synthetic()
    fitted, batch = trained("rw", data, regressor="rf"), batch_of(data)
    fresh = made("rw", data, regressor="rf")
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh.eval()(batch).fused, fitted(batch).fused)


@pytest.mark.parametrize("name", METHODS)
def test_weights_follow_correctness(name):
    """One modality that tells and three of noise alone."""
    data = synthetic(4, train=400, validation=400, signal=[4.0, 0.0, 0.0, 0.0])
    method = trained(name, data, epochs=5)
    batch = next(splits_of(data, method, 0).validation.batches(400))
    logits, output = logits_of(method, batch), method(batch)
    stacked = torch.stack(list(logits.values()))
    right = (stacked.argmax(-1) == batch.target).numpy()
    weights = torch.stack([output.extra[f"weight/{m}"] for m in logits])
    assert correlation(weights.detach().numpy(), right) > 0.4
    assert (output.fused.argmax(-1) == batch.target).float().mean() > right[1:].mean() + 0.4
