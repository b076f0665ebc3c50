"""Regressors of correctness: the same functions as scikit-learn's, their state in tensors, exact to resume."""

import numpy as np
import pytest
import torch

from sweeper.models.maths.evidence import SCORES, Rows, normalized, trust
from sweeper.models.maths.regressors import (
    FITS,
    KINDS,
    PREDICTIONS,
    Regressor,
    _batches,
    compare,
    fit_emlp,
    fit_rf,
    fit_svr,
    predict_emlp,
)
from sweeper.models.streams import torch_stream

QUICK = {"emlp": {"epochs": 60}, "rf": {"trees": 10}}


def rows(n=200, modalities=2, classes=4, seed=0, dtype=torch.float64, absent=0.0):
    """Logits whose margin tells how often they are right, the second modality's weaker than the first's."""
    g = torch.Generator().manual_seed(seed)
    target = torch.randint(classes, (n,), generator=g)
    hot = torch.nn.functional.one_hot(target, classes).to(dtype)
    strength = 8 * torch.rand(modalities, n, 1, generator=g, dtype=dtype)
    strength /= torch.arange(1, modalities + 1).reshape(-1, 1, 1)
    logits = strength * hot + torch.randn(modalities, n, classes, generator=g, dtype=dtype)
    present = torch.rand(modalities, n, generator=g) >= absent
    present[0] = True
    return Rows(logits, target, present)


def regressor(kind, found=None, **options):
    made = Regressor(kind, **{**QUICK.get(kind, {}), **options})
    made.double()
    made.fit(rows() if found is None else found, torch_stream(0, "fit"))
    return made


def pooled(found):
    return found.logits.reshape(-1, found.logits.shape[-1]), found.correct.flatten().double()


@pytest.mark.parametrize("kind", ["lr", "rf", "svr"])
def test_predictions_are_those_of_scikit_learn(kind):
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.linear_model import LinearRegression
    from sklearn.svm import SVR

    seed = int(torch.randint(2**31, (), generator=torch_stream(0, "fit")))
    estimator = {
        "lr": LinearRegression(),
        "rf": RandomForestRegressor(max_depth=50, max_leaf_nodes=50, random_state=seed),
        "svr": SVR(kernel="rbf", gamma="auto", C=1.0, epsilon=0.1),
    }[kind]
    (x, y), (new, _) = pooled(rows()), pooled(rows(seed=1))
    x, new = x.sort(-1).values.numpy(), new.sort(-1).values
    expected = estimator.fit(x, y.numpy()).predict(new.numpy())
    found = PREDICTIONS[kind](FITS[kind](torch.from_numpy(x), y, torch_stream(0, "fit")), new)
    assert np.allclose(found.numpy(), expected, rtol=0, atol=1e-9)


def test_a_tree_may_be_one_leaf():
    x, y = torch.randn(20, 3), torch.ones(20)
    state = fit_rf(x, y, torch_stream(0))
    assert PREDICTIONS["rf"](state, x).tolist() == [1.0] * 20


def test_a_forest_reads_float32_and_double_inputs_alike():
    made, new = regressor("rf"), rows(seed=1).logits
    assert torch.equal(made(new.float()).double(), made(new).float().double())


def test_the_perceptron_is_the_published_one():
    x = rows().logits[0, :5]
    state = fit_emlp(x, torch.ones(5, dtype=x.dtype), torch_stream(0), epochs=1, width=16)
    net = torch.nn.Sequential(
        torch.nn.Softplus(), torch.nn.Linear(4, 16), torch.nn.PReLU(), torch.nn.Linear(16, 1)
    ).double()
    named = zip(("hidden", "hidden_bias", "slope", "out", "out_bias"), net.parameters(), strict=True)
    for name, p in named:
        p.data = state[name].reshape(p.shape)
    assert torch.allclose(predict_emlp(state, x), net(x).squeeze(-1))


def test_a_batch_of_the_perceptron_holds_all_rows_of_its_samples():
    samples = torch.tensor([5, 5, 2, 7, 7, 7, 2, 9, 0])
    seen = set()
    for seed in range(20):
        batches = _batches(samples, 2, torch_stream(seed))
        assert sorted(torch.cat(batches).tolist()) == list(range(9))
        assert [len(samples[rows].unique()) for rows in batches] == [2, 2, 1]
        held = [set(samples[rows].tolist()) for rows in batches]
        assert not set.intersection(held[0], held[1]) | set.intersection(held[1], held[2])
        seen.add(tuple(sorted(held[0])))
    assert len(seen) > 5  # in random order


def test_the_perceptrons_batches_are_of_samples_of_which_absent_rows_are_none(monkeypatch):
    found, given = rows(absent=0.3), []
    monkeypatch.setitem(
        FITS, "emlp", lambda x, y, generator, **options: given.append(options["samples"]) or {}
    )
    Regressor("emlp").fit(found, torch_stream(0))
    assert given[0].tolist() == [n for own in found.present for n in own.nonzero()[:, 0].tolist()]


def test_without_samples_every_row_is_one():
    x, y = (v[:60] for v in pooled(rows()))
    own, told = (
        fit_emlp(x, y, torch_stream(0), epochs=2, batch_size=16, samples=samples)
        for samples in (None, torch.arange(60))
    )
    for name, value in own.items():
        assert torch.equal(value, told[name])


@pytest.mark.parametrize("kind", KINDS)
def test_regressed_correctness_explains_new_rows(kind):
    new = rows(seed=1, n=500)
    found, right = regressor(kind)(new.logits), new.correct.double()
    assert (found - right).square().mean() < 0.9 * right.var()
    assert torch.corrcoef(torch.stack([found.flatten(), right.flatten()]))[0, 1] > 0.35


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_target_regresses_to_it_and_weighs_equally(kind):
    found = rows()
    first = found.logits[:1]
    always = Rows(torch.cat([first, 2 * first]), first[0].argmax(-1), found.present)
    assert always.correct.all()
    longer = {"epochs": 300} if kind == "emlp" else {}  # the perceptron only comes near the constant
    right = regressor(kind, always, **longer)(always.logits)
    tolerance = 0.15 if kind == "emlp" else 1e-9
    assert (right - 1).abs().mean() < tolerance
    assert (normalized(right, always.present) - 0.5).abs().mean() < tolerance


@pytest.mark.parametrize("kind", KINDS)
def test_absent_modalities_are_not_fitted_to(kind):
    found = rows(absent=0.3)
    spoilt = found._replace(logits=found.logits.where(found.present.unsqueeze(-1), 1e3))
    new = rows(seed=1).logits
    assert torch.equal(regressor(kind, found)(new), regressor(kind, spoilt)(new))


@pytest.mark.parametrize("kind", KINDS)
def test_the_shared_regressor_forgets_which_modality_a_row_is_of(kind):
    found, new = rows(), rows(seed=1).logits
    made = regressor(kind)
    assert torch.allclose(made(new.flip(0)), made(new).flip(0))
    swapped = Rows(found.logits.flip(0), found.target, found.present)
    if kind == "lr":  # the others draw rows by position
        assert torch.allclose(regressor(kind, swapped)(new), made(new))


@pytest.mark.parametrize("kind", KINDS)
def test_sorting_hides_which_class_is_which(kind):
    new = rows(seed=1).logits
    turned = new[..., [2, 0, 3, 1]]
    for ordered, same in ((True, True), (False, False), (None, kind != "emlp")):
        made = regressor(kind, ordered=ordered)
        assert torch.allclose(made(turned), made(new)) == same


@pytest.mark.parametrize("kind", KINDS)
def test_the_state_dict_is_enough(kind, tmp_path):
    fitted, new = regressor(kind), rows(seed=1).logits
    torch.save(fitted.state_dict(), tmp_path / "state.pt")
    fresh = Regressor(kind).double()
    assert not fresh.state
    fresh.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert torch.equal(fresh(new), fitted(new))
    fresh.load_state_dict(Regressor(kind).state_dict())
    assert not fresh.state


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_loaded_as_part_of_a_module_is_taken_over(kind):
    fitted, new = torch.nn.ModuleDict({"inner": regressor(kind)}), rows(seed=1).logits
    fresh = torch.nn.ModuleDict({"inner": Regressor(kind)})
    fresh.load_state_dict(fitted.state_dict())
    assert torch.equal(fresh["inner"](new), fitted["inner"](new))
    another = regressor(kind, rows(seed=5, n=150))
    another.load_state_dict(fitted["inner"].state_dict())
    assert torch.equal(another(new), fitted["inner"](new))


@pytest.mark.parametrize("kind", KINDS)
def test_the_fit_repeats_and_leaves_other_randomness_alone(kind):
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(2), np.random.rand(2)
    torch.manual_seed(3)
    np.random.seed(3)
    first = regressor(kind)
    assert torch.equal(torch.rand(2), expected[0])
    assert np.array_equal(np.random.rand(2), expected[1])
    again = regressor(kind)
    for name, value in first.state.items():
        assert torch.equal(value, again.state[name]), name


@pytest.mark.parametrize("kind", ["rf", "emlp"])
def test_another_seed_gives_another_fit(kind):
    new, other = rows(seed=1).logits, Regressor(kind, **QUICK[kind]).double()
    other.fit(rows(), torch_stream(1, "fit"))
    assert not torch.allclose(other(new), regressor(kind)(new))


@pytest.mark.parametrize("kind", KINDS)
def test_single_precision_and_no_rows_are_fine(kind):
    made = Regressor(kind, **QUICK.get(kind, {}))
    made.fit(rows(dtype=torch.float32), torch_stream(0))
    new = rows(seed=1, dtype=torch.float32).logits
    assert made(new).dtype == torch.float32
    assert made(new).shape == new.shape[:2]
    assert made(new[:, :0]).shape == (2, 0)


def test_support_vectors_come_from_the_rows_drawn():
    x, y = pooled(rows())
    state = fit_svr(x, y, torch_stream(0), rows=50)
    assert len(state["support"]) <= 50
    assert len(fit_svr(x, y, torch_stream(0))["support"]) > 50


def test_compare_weighs_by_every_score_and_regressor():
    new = rows(seed=1, n=50, absent=0.3)
    found = compare(rows(absent=0.3), new, torch_stream(0))
    assert list(found) == [*SCORES, *KINDS]
    assert torch.equal(found["RC"], trust(new.logits, new.present)[1])
    for kind in KINDS:
        assert torch.allclose(found[kind].sum(0), torch.ones(50, dtype=torch.float64))
        assert found[kind][~new.present].eq(0).all()
        assert found[kind].ge(0).all()
