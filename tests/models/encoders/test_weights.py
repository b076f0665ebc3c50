"""ResNets with given weights: the features are the saved net's, and what cannot be loaded is told."""

import pytest
import torch
from transformers import ResNetConfig, ResNetModel

from sweeper.models.encoders.resnet import Resnet18
from sweeper.models.errors import UserError
from sweeper.models.schema.entries import entries
from sweeper.models.values import InputSpec
from tests.models.cases import build, synthetic

RGB = InputSpec("image", (3, 40, 40))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A small random ResNet of an architecture of its own, and the folder that it is kept in."""
    torch.manual_seed(5)
    sizes = {"embedding_size": 6, "hidden_sizes": [6, 10, 14], "depths": [1, 2, 1]}
    net = ResNetModel(ResNetConfig(num_channels=3, layer_type="basic", **sizes)).eval()
    for name, value in net.named_buffers():
        if name.endswith("running_mean"):
            value.normal_()
    folder = tmp_path_factory.mktemp("weights") / "resnet"
    net.save_pretrained(folder)
    return net, folder


@pytest.mark.parametrize("name", ["resnet18", "resnet34", "resnet50"])
def test_given_weights_decide_the_net_and_give_its_features(saved, name):
    net, folder = saved
    entry = entries("encoder")[name]
    assert entry.locations == {"weights"}
    encoder = entry.build({"name": name, "weights": str(folder)}, RGB).eval()
    x = torch.randn(2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net(x)
        torch.testing.assert_close(encoder(x), expected.pooler_output.flatten(1))
        torch.testing.assert_close(encoder(x, None, "maps"), expected.last_hidden_state)
    assert (encoder.dim, list(encoder.stages.values())) == (14, [6, 10, 14])


def test_given_weights_need_no_seed_and_width_counts_no_more(saved):
    _, folder = saved
    first = Resnet18(RGB, weights=folder)
    torch.manual_seed(99)
    second = Resnet18(RGB, weights=folder, width=3)
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])


def test_a_study_can_name_them(saved):
    encoder = {"name": "resnet18", "weights": str(saved[1])}
    method = build({"name": "joint"}, synthetic(kind="image"), encoder=encoder)
    assert {own.dim for own in method.net.encoders.values()} == {14}


def test_a_grey_image_of_one_channel_gives_the_features_that_it_gives_in_colour(saved):
    _, folder = saved
    grey, colour = (
        Resnet18(InputSpec("image", (1, 40, 40)), weights=folder).eval(),
        Resnet18(RGB, weights=folder).eval(),
    )
    x = torch.randn(2, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(grey(x), colour(x.repeat(1, 3, 1, 1)), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_that_are_alike_give_the_same_and_each_counts(saved, channels):
    _, folder = saved
    own, colour = (Resnet18(InputSpec("image", (c, 40, 40)), weights=folder).eval() for c in (channels, 3))
    x = torch.randn(2, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    alike = x.repeat(1, channels, 1, 1)
    torch.testing.assert_close(own(alike), colour(x.repeat(1, 3, 1, 1)), rtol=1e-4, atol=1e-5)
    for channel in range(channels):
        other = alike.clone()
        other[:, channel] = 0
        assert not torch.allclose(own(other), own(alike))


def nothing(folder):
    """A folder that is not there."""


def empty(folder):
    folder.mkdir()


def foreign(folder):
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "bert"}')


def damaged(folder):
    ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])).save_pretrained(folder)
    (folder / "model.safetensors").write_bytes(b"no weights")


def half(folder):
    """The weights of a smaller net under the name of a larger one."""
    ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])).save_pretrained(folder)
    ResNetConfig(embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1]).save_pretrained(folder)


def other_shapes(folder):
    """The weights of a narrow net under the name of a wide one."""
    ResNetModel(ResNetConfig(embedding_size=4, hidden_sizes=[4], depths=[1])).save_pretrained(folder)
    ResNetConfig(embedding_size=8, hidden_sizes=[8], depths=[1]).save_pretrained(folder)


@pytest.mark.parametrize(
    "put", [nothing, empty, foreign, damaged, half, other_shapes], ids=lambda f: f.__name__
)
def test_a_folder_that_is_no_resnet_is_refused_in_a_sentence(tmp_path, put):
    put(tmp_path / "weights")
    with pytest.raises(
        UserError, match=r"weights '.*/weights' are no ResNet \(.*\); give a folder with"
    ) as told:
        Resnet18(RGB, weights=tmp_path / "weights")
    assert "\n" not in str(told.value)
