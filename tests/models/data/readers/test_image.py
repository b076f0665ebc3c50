"""Images of every sort come out as pixels of one size, or say why not."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as pillow

from sweeper.models.data.readers import image
from sweeper.models.data.readers.base import Unreadable
from sweeper.models.data.readers.image import Image
from sweeper.models.data.readers.store import stored
from sweeper.models.errors import UserError
from sweeper.models.values import InputSpec

DATA = os.environ.get("SWEEPER_DATA")
RED, GREEN, BLUE, WHITE = [255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]


def thirds(height=4, width=12):
    """Red, green and blue from left to right."""
    return np.repeat(np.array([[RED, GREEN, BLUE]], np.uint8), width // 3, 1).repeat(height, 0)


@pytest.fixture
def file(tmp_path):
    def write(pixels, name="a.png", **more):
        own = pixels if isinstance(pixels, pillow.Image) else pillow.fromarray(np.asarray(pixels))
        own.save(tmp_path / name, **more)
        return tmp_path / name

    return write


def colour(sample, row, column):
    return sample[:, row, column].tolist()


def test_a_sample_is_channels_rows_and_columns(file):
    sample = Image(size=[2, 6], fit="stretch").read((file(thirds()),))
    assert (sample.shape, sample.dtype) == ((3, 2, 6), np.uint8)
    assert [colour(sample, 0, column) for column in (0, 5)] == [RED, BLUE]
    assert Image(size=[2, 6]).spec() == InputSpec("image", (3, 2, 6))


def test_cropping_keeps_the_centre_of_the_longer_side(file):
    for pixels in (thirds(), thirds().transpose(1, 0, 2)):
        sample = Image(size=4).read((file(pixels),))
        assert (sample == np.array(GREEN)[:, None, None]).all()


def test_stretching_keeps_all(file):
    sample = Image(size=3, fit="stretch").read((file(thirds(12, 36)),))
    assert [sample[:, 1, column].argmax() for column in range(3)] == [0, 1, 2]


def test_padding_keeps_the_ratio_and_adds_black(file):
    sample = Image(size=12, fit="pad").read((file(thirds()),))
    assert not sample[:, :4].any()
    assert not sample[:, 8:].any()
    assert [colour(sample, 5, column) for column in (0, 5, 11)] == [RED, GREEN, BLUE]


def test_a_large_photograph_is_as_if_it_were_decoded_whole(file):
    ramp = np.linspace(0, 255, 1200).astype(np.uint8)
    path = file(np.broadcast_to(ramp[None, :, None], (900, 1200, 3)).copy(), "a.jpg", quality=95)
    sample = Image(size=[30, 40]).read((path,))
    whole = np.asarray(pillow.open(path).resize((40, 30), pillow.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(sample.astype(int) - whole).max() <= 2


def test_grey_is_one_channel(file):
    sample = Image(size=4, color="grey").read((file(np.full((4, 4, 3), 100, np.uint8)),))
    assert sample.shape == (1, 4, 4)
    assert (sample == 100).all()


def test_a_photograph_is_turned_as_its_camera_was_held(file):
    exif = pillow.Exif()
    exif[0x0112] = 6  # the top of the scene is at the right of the file
    lying = thirds().transpose(1, 0, 2)[::-1].copy()  # blue above green above red
    upright = Image(size=[4, 12], fit="stretch").read((file(lying, "a.png", exif=exif),))
    assert [colour(upright, 0, column) for column in (0, 5, 11)] == [RED, GREEN, BLUE]


def palette():
    own = pillow.fromarray(thirds()).quantize(4)
    assert own.mode == "P"
    return own


def wide(levels, mode="I;16"):
    return pillow.frombytes(mode, (4, 4), np.full((4, 4), levels, np.uint16).tobytes())


@pytest.mark.parametrize(
    ("pixels", "name", "found"),
    [
        (palette(), "a.png", GREEN),
        (pillow.new("RGBA", (4, 4), (255, 0, 0, 0)), "a.png", WHITE),
        (pillow.new("RGBA", (4, 4), (255, 0, 0, 255)), "a.png", RED),
        (pillow.new("LA", (4, 4), (0, 0)), "a.png", WHITE),
        (pillow.new("1", (4, 4), 1), "a.png", WHITE),
        (pillow.new("CMYK", (4, 4), (0, 0, 0, 0)), "a.tif", WHITE),
        (wide(65535), "a.png", WHITE),
        (wide(257 * 100), "a.png", [100] * 3),
        (wide(257 * 100), "a.tif", [100] * 3),
        (pillow.new("I", (4, 4), 65535), "a.tif", WHITE),
    ],
)
def test_every_way_to_store_pixels_gives_eight_bits(file, pixels, name, found):
    assert colour(Image(size=4).read((file(pixels, name),)), 2, 2) == found


def test_transparency_of_a_palette_is_white(file):
    see_through = palette()
    path = file(see_through, transparency=see_through.getpixel((5, 2)))
    assert colour(Image(size=4).read((path,)), 2, 2) == WHITE


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png"])
def test_of_an_animation_the_first_frame_counts(file, name):
    frames = [pillow.new("RGB", (8, 8), tuple(own)) for own in (RED, BLUE)]
    path = file(frames[0], name, save_all=True, append_images=frames[1:])
    assert Image(size=8).read((path,))[:, 4, 4].argmax() == 0


def test_several_images_are_a_video(file):
    paths = tuple(file(np.full((4, 4, 3), n, np.uint8), f"{n}.png") for n in (10, 20))
    reader = Image(size=4, images=3)
    assert reader.spec() == InputSpec("video", (3, 3, 4, 4))
    assert reader.read(paths)[:, 0, 0, 0].tolist() == [10, 20]
    assert reader.read(paths[:1]).shape == (1, 3, 4, 4)
    with pytest.raises(Unreadable, match="it names 2 images where images=1 are read"):
        Image(size=4).read(paths)


def photograph():
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    pillow.fromarray(noise).save(file, "jpeg")
    return file.getvalue()


def bomb():
    file = io.BytesIO()
    pillow.new("1", (20_000, 20_000)).save(file, "png")
    return file.getvalue()


DAMAGED = {
    "it is no image": b"<html>Not found</html>",
    "image file is truncated": photograph()[:1500],
    "exceeds limit of": bomb(),
}


@pytest.mark.parametrize("reason", DAMAGED)
def test_a_file_that_is_damaged_says_how(tmp_path, reason):
    path = tmp_path / "a.jpg"
    path.write_bytes(DAMAGED[reason])
    with pytest.raises(Unreadable, match=reason) as caught:
        Image(size=4).read((path,))
    assert str(path) not in str(caught.value)


def test_more_pixels_than_fit_in_memory_are_refused(file, monkeypatch):
    monkeypatch.setattr(image, "MOST_PIXELS", 100)
    with pytest.raises(Unreadable, match="it has 20 x 6 pixels; 100 are read at most"):
        Image(size=4).read((file(np.zeros((6, 20), np.uint8)),))


def test_pixels_that_are_fractions_are_refused(file):
    with pytest.raises(Unreadable, match="its pixels are fractions"):
        Image(size=4).read((file(np.full((4, 4), 0.5, np.float32), "a.tif"),))


@pytest.mark.parametrize("size", [0, [4], [4, 4, 4], [4, 0]])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(UserError, match=r"a number of pixels is admissible, or \[height, width\]"):
        Image(size=size)


@pytest.mark.skipif(not DATA, reason="SWEEPER_DATA is not set")
def test_radiographs_fill_the_whole_size(tmp_path):
    paths = sorted(Path(DATA, "vqa_rad", "images").glob("*.jpg"))[:20]
    samples, lengths, failures = stored([(path,) for path in paths], Image(size=32, color="grey"), tmp_path)
    assert (samples.shape, samples.dtype, lengths, failures) == ((20, 1, 32, 32), np.uint8, None, {})
    assert samples.std((1, 2, 3)).min() > 10
