"""Frames are chosen as it is said, from files and from folders, and a clip that cannot be read says why."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image as pillow

from sweeper.models.data.readers.base import Unreadable
from sweeper.models.data.readers.store import stored
from sweeper.models.data.readers.video import Video, middles
from sweeper.models.values import InputSpec

STEP = 10  # how much brighter each frame is than the one before
RIGHT = {"size": 16, "color": "grey"}


def film(path, frames=20, rate=10, codec="mpeg4", shape=(16, 16), corner=False):
    """Write a video whose frames get brighter."""
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=rate)
        (track.height, track.width), track.pix_fmt, track.bit_rate = shape, "yuv420p", 4_000_000
        for number in range(frames):
            pixels = np.full((*shape, 3), number * STEP, np.uint8)
            if corner:
                pixels[:8, :8] = 255
            container.mux(track.encode(av.VideoFrame.from_ndarray(pixels)))
        container.mux(track.encode())
    return path


def numbers(sample):
    """Return which frames of a film a sample holds."""
    return (sample.mean((1, 2, 3)) / STEP).round().astype(int).tolist()


def test_middles_are_the_middle_ones_of_equal_parts():
    assert middles(9, 3) == [1, 4, 7]
    assert middles(75, 1) == [37]
    assert middles(2, 3) == [0, 1]
    assert middles(0, 3) == []


@pytest.mark.parametrize("name", ["a.mp4", "a.avi", "a.mkv", "a.mpg"])
def test_frames_are_spread_evenly(tmp_path, name):
    mpg = name.endswith("mpg")
    path = film(tmp_path / name, rate=25 if mpg else 10, codec="mpeg1video" if mpg else "mpeg4")
    sample = Video(frames=4, **RIGHT).read((path,))
    assert (sample.shape, sample.dtype) == ((4, 1, 16, 16), np.uint8)
    assert numbers(sample) == [2, 7, 12, 17]


def test_frames_may_follow_each_other_at_a_rate(tmp_path):
    path = film(tmp_path / "a.mp4", frames=20, rate=10)
    assert numbers(Video(frames=8, fps=2, **RIGHT).read((path,))) == [0, 5, 10, 15]
    assert numbers(Video(frames=3, fps=5, **RIGHT).read((path,))) == [0, 2, 4]
    assert numbers(Video(frames=4, fps=100, **RIGHT).read((path,))) == [0, 1, 2, 3]  # as many as there are


def test_a_clip_that_has_fewer_frames_is_shorter(tmp_path):
    path = film(tmp_path / "a.mp4", frames=3)
    reader = Video(frames=8, **RIGHT)
    assert reader.spec() == InputSpec("video", (8, 1, 16, 16))
    assert numbers(reader.read((path,))) == [0, 1, 2]


def test_sides_and_colours_are_those_of_images(tmp_path):
    path = film(tmp_path / "a.mp4", shape=(16, 32))
    assert Video(frames=2, size=[8, 12]).read((path,)).shape == (2, 3, 8, 12)
    assert Video(frames=2, size=8, color="grey", fit="pad").read((path,))[1, 0].max(1).tolist()[:2] == [0, 0]


def test_a_video_is_turned_as_the_telephone_was_held(tmp_path):
    path = film(tmp_path / "a.mp4", frames=2, shape=(16, 32), corner=True)
    lying = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -1 << 16, 0, 0, 0, 0, 1 << 30)  # clockwise
    head, track = path.read_bytes().split(b"tkhd")
    path.write_bytes(head + b"tkhd" + track.replace(lying, turned, 1))
    sample = Video(frames=1, size=[32, 16], color="grey").read((path,))[0, 0]
    assert sample[:8, 8:].min() > 150  # the corner that was on the left is on the right
    assert sample[8:].max() < 100


def frames_in(folder, names):
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        pillow.new("L", (16, 16), number * STEP).save(folder / name)
    return folder


@pytest.mark.parametrize("name", ["clip", "clip.mp4"])
def test_a_folder_of_images_is_a_video_whatever_it_is_called(tmp_path, name):
    folder = frames_in(tmp_path / "Image-01-FPS" / name, [f"{n:05d}.jpg" for n in range(1, 10)])
    (folder / "notes.txt").write_text("not a frame")
    assert numbers(Video(frames=3, **RIGHT).read((folder,))) == [1, 4, 7]
    assert numbers(Video(frames=3, fps=1, **RIGHT).read((folder,))) == [0, 1, 2]


def test_images_of_a_folder_follow_each_other_by_number(tmp_path):
    folder = frames_in(tmp_path / "clip", [f"frame_{n}.png" for n in range(12)])
    assert numbers(Video(frames=12, **RIGHT).read((folder,))) == list(range(12))


def test_a_cell_may_name_its_frames(tmp_path):
    folder = frames_in(tmp_path / "clip", ["a.png", "b.png", "c.png"])
    cell = (folder / "c.png", folder / "a.png")
    assert numbers(Video(**RIGHT).read(cell)) == [2, 0]


def test_folders_and_files_give_the_same_array(tmp_path):
    film(tmp_path / "a.mp4", frames=2)
    frames_in(tmp_path / "b.mp4", ["1.png", "2.png", "3.png"])
    cells = [(tmp_path / name,) for name in ("a.mp4", "b.mp4", "c.mp4")]
    samples, lengths, failures = stored(cells, Video(**RIGHT), tmp_path / "cache")
    assert samples.shape == (3, 3, 1, 16, 16)
    assert lengths.tolist() == [2, 3, 0]
    assert failures == {2: "it is missing"}


def cut(path):
    film(path)
    path.write_bytes(path.read_bytes()[:600])


def foreign(path):
    path.write_bytes(b"<html>Video unavailable</html>" * 100)


def silent(path):
    with av.open(str(path), "w", format="wav") as container:
        track = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), "s16", "mono")
        frame.sample_rate = 8000
        container.mux([*track.encode(frame), *track.encode()])


def elsewhere(path):
    path.write_text("#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n")


def texts(path):
    path.mkdir()
    (path / "a.txt").write_text("no frame")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut, "it has no video track, or is cut off"),
        (foreign, "Invalid data found"),
        (silent, "it has no video track"),
        (elsewhere, "Invalid data found"),
        (texts, "it is a folder without images"),
    ],
)
def test_a_clip_that_cannot_be_read_says_why(tmp_path, damage, reason):
    path = tmp_path / "a.mp4"
    damage(path)
    with pytest.raises(Unreadable, match=reason) as caught:
        Video().read((path,))
    assert str(path) not in str(caught.value)


def test_a_damaged_frame_of_a_folder_is_named(tmp_path):
    folder = frames_in(tmp_path / "clip", ["1.png", "2.png"])
    (folder / "2.png").write_bytes(b"")
    with pytest.raises(Unreadable, match=r"2\.png: it is no image"):
        Video().read((folder,))


def test_several_videos_in_a_cell_are_refused(tmp_path):
    with pytest.raises(Unreadable, match="it names 2 videos; one is read"):
        Video().read((tmp_path / "a.mp4", tmp_path / "b.mp4"))


@pytest.mark.skipif("SWEEPER_DATA" not in os.environ, reason="SWEEPER_DATA is not set")
def test_grids_clips_give_every_frame_or_some(tmp_path):
    paths = sorted(Path(os.environ["SWEEPER_DATA"], "grid_digits", "raw").glob("*.mpg"))[:2]
    cells = [(path,) for path in paths]
    whole, _, _ = stored(cells, Video(frames=80, size=[36, 45], color="grey"), tmp_path)
    some, lengths, failures = stored(cells, Video(frames=5, size=[36, 45], color="grey"), tmp_path)
    assert whole.shape == (2, 75, 1, 36, 45)
    assert (lengths, failures) == (None, {})
    np.testing.assert_array_equal(some, whole[:, middles(75, 5)])
