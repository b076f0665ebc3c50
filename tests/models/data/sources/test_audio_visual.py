"""CREMA-D, Kinetics-Sounds and VGGSound from miniature copies of their layouts, with what goes wrong in them."""

import json
from collections import Counter

import numpy as np
import pytest

from sweeper.models.data import fingerprint, inputs, kept_bytes, load_dataset
from sweeper.models.data.sources import crema_d, kinetics_sounds, vggsound
from sweeper.models.errors import UserError
from tests.models.data.sources import minis

SMALL = {"frames": 2, "size": 8}


def rows(samples):
    """{id: (split, class)} of samples."""
    every = zip(samples.ids, samples.split, samples.target, strict=True)
    return {name: (split, samples.classes[label]) for name, split, label in every}


@pytest.mark.parametrize("bom", [True, False])
@pytest.mark.parametrize("place", ["", "annotations", "data/CREMAD"])
def test_crema_ds_lists_are_read_with_and_without_a_byte_order_mark(tmp_path, bom, place):
    ids = minis.crema(tmp_path, bom=bom, place=place)
    samples = crema_d.samples(tmp_path)
    assert samples.ids == tuple(ids)
    assert samples.classes == minis.EMOTIONS
    assert list(samples.target) == [i % 6 for i in range(60)]
    assert Counter(samples.split) == {"train": 54, "test": 6}


def test_crema_ds_lists_of_mla_name_videos_and_emotions_in_words(tmp_path):
    folder = tmp_path / "CREMA-D"
    minis.table(folder / "my_train_cre.txt", "1085_IWL_SAD_XX.flv Sad")
    minis.table(folder / "my_test_cre.txt", "1086_IWL_ANG_XX.flv Anger")
    assert rows(crema_d.samples(tmp_path)) == {
        "1085_IWL_SAD_XX": ("train", "SAD"),
        "1086_IWL_ANG_XX": ("test", "ANG"),
    }


def test_crema_d_whole(tmp_path, capsys):
    minis.crema(tmp_path)
    dataset = load_dataset("crema_d", SMALL, tmp_path, tmp_path / "cache")
    assert dataset.spec.modalities == inputs("crema_d", SMALL)
    assert kept_bytes("crema_d", SMALL, tmp_path) == minis.on_disk(tmp_path / "cache")
    assert dataset.inputs["audio"].shape == (60, 1, 257, 188)
    assert dataset.inputs["video"].shape == (60, 2, 3, 8, 8)
    assert dataset.spec.sizes["test"] == 6
    told = capsys.readouterr().err
    assert "54 of 6,698 in train, 6 of 744 in test" in told
    assert "1 actor stands in two splits" not in told


def test_that_the_published_split_tears_actors_apart_is_told(tmp_path, capsys):
    minis.crema(tmp_path, test=9)
    dataset = load_dataset("crema_d", SMALL, tmp_path, tmp_path / "cache")
    assert dataset.spec.sizes["test"] == 9
    assert "1 of 10 actors stand in two splits" in capsys.readouterr().err


def test_crema_d_by_actors_keeps_every_actor_in_one_split(tmp_path, capsys):
    minis.crema(tmp_path, test=9)
    dataset = load_dataset("crema_d", {**SMALL, "split": "actors"}, tmp_path, tmp_path / "cache")
    actor = np.array([name[:4] for name in crema_d.samples(tmp_path, "actors").ids])
    parts = [set(actor[dataset.rows[s]]) for s in ("train", "validation", "test")]
    assert sum(map(len, parts)) == len(set.union(*parts)) == 10
    assert capsys.readouterr().err == ""


def test_a_clip_without_sound_is_refused_by_name_or_left_out_and_counted(tmp_path):
    ids = minis.crema(tmp_path)
    (tmp_path / "CREMA-D" / "AudioWAV" / f"{ids[0]}.wav").unlink()
    with pytest.raises(UserError, match=rf"1 missing.*{ids[0]}\.wav"):
        load_dataset("crema_d", SMALL, tmp_path, tmp_path / "cache")
    dataset = load_dataset("crema_d", {**SMALL, "missing": "drop"}, tmp_path, tmp_path / "cache")
    assert sum(dataset.spec.sizes.values()) == 59
    assert "1 of 60 rows left out" in dataset.spec.cite


def test_crema_d_says_what_lacks(tmp_path):
    with pytest.raises(UserError, match="AudioWAV"):
        crema_d.samples(tmp_path)
    minis.media(tmp_path / "CREMA-D", ["1001_IOM_NEU_XX"])
    with pytest.raises(UserError, match="split: actors"):
        crema_d.samples(tmp_path)
    minis.table(tmp_path / "CREMA-D" / "train.csv", "nobody,NEU")
    minis.table(tmp_path / "CREMA-D" / "test.csv", "1001_IOM_NEU_XX,NEU")
    with pytest.raises(UserError, match="'nobody' does not read"):
        crema_d.samples(tmp_path)


def test_lossless_sound_comes_before_mp3_and_sound_files_before_the_track_of_a_video(tmp_path):
    ids = minis.crema(tmp_path)
    for place in (f"AudioMP3/{ids[0]}.mp3", f"VideoFlash/{ids[0]}.flv"):
        minis.table(tmp_path / "CREMA-D" / place, "no sound")
    cells = crema_d.samples(tmp_path).cells
    assert cells["audio"][0][0].suffix == ".wav"
    assert cells["video"][0][0].is_dir()


def youtube(i):
    return f"abcdefgh{i:03d}"


def kinetics(root, *, train=20, test=4):
    """OGM-GE's lists: names in train have start and end, those in test count a video's clips."""
    folder = root / "KineticsSounds"
    ids = [f"{youtube(i)}_000010_000020" for i in range(train + test)]
    minis.media(folder, ids)
    minis.table(folder / "my_train.txt", *(f"{name},10,{i % 2 * 10}" for i, name in enumerate(ids[:train])))
    minis.table(folder / "my_test.txt", *(f"{youtube(train + i)}_{i},10,{i % 2 * 10}" for i in range(test)))
    return ids


def test_kinetics_sounds_test_names_are_found_by_their_video(tmp_path):
    ids = kinetics(tmp_path)
    samples = kinetics_sounds.samples(tmp_path)
    assert samples.ids == tuple(ids)
    assert samples.classes == ("0", "10")
    assert all(cell[0].exists() for cells in samples.cells.values() for cell in cells)


def test_a_video_with_two_clips_is_not_guessed_at(tmp_path):
    kinetics(tmp_path)
    minis.sound(tmp_path / "KineticsSounds" / "AudioWAV" / f"{youtube(20)}_000040_000050.wav")
    samples = kinetics_sounds.samples(tmp_path)
    assert samples.ids[20] == f"{youtube(20)}_0"
    assert not samples.cells["audio"][20][0].exists()


def test_kinetics_sounds_whole(tmp_path):
    kinetics(tmp_path)
    dataset = load_dataset("kinetics_sounds", SMALL, tmp_path, tmp_path / "cache")
    assert dataset.spec.modalities == inputs("kinetics_sounds", SMALL)
    assert dataset.inputs["audio"].shape == (24, 1, 257, 1004)
    assert dataset.spec.sizes == {"train": 18, "validation": 2, "test": 4}


LAYOUTS = {
    "a table with a header": {"annotations/{}.csv": ("youtube_id,label", "{},playing organ")},
    "names and labels": {"{}.txt": ("{} playing organ",)},
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kinetics_sounds_lists_of_other_papers(tmp_path, layout):
    for pattern, lines in LAYOUTS[layout].items():
        for split, i in (("train", 1), ("test", 2)):
            path = tmp_path / "KineticsSounds" / pattern.format(split)
            minis.table(path, *(line.format(youtube(i)) for line in lines))
    assert rows(kinetics_sounds.samples(tmp_path)) == {
        youtube(1): ("train", "playing organ"),
        youtube(2): ("test", "playing organ"),
    }


def test_kinetics_sounds_json_and_tree(tmp_path):
    folder = tmp_path / "KineticsSounds"
    for tree, i in (("train_img", 1), ("val_img", 2)):
        minis.frames(folder / "visual" / tree / "Image-01-FPS" / "tap_dancing" / youtube(i))
    expected = {youtube(1): ("train", "tap dancing"), youtube(2): ("test", "tap dancing")}
    assert rows(kinetics_sounds.samples(tmp_path)) == expected
    entries = {
        youtube(i): {"subset": s, "label": "tap_dancing"} for i, s in ((1, "training"), (2, "validation"))
    }
    (folder / "KS.json").write_text(json.dumps({"labels": ["tap_dancing"], "database": entries}))
    assert rows(kinetics_sounds.samples(tmp_path)) == expected
    (folder / "KS.json").write_text("{}")
    with pytest.raises(UserError, match=r"KS\.json"):
        kinetics_sounds.samples(tmp_path)


def vgg(root, *, count=12):
    """Frames in folders whose names end in .mp4, starts in names with leading zeros or without, labels with commas."""
    folder = root / "VGGSound"
    lines = []
    for i in range(count):
        label = '"wind, in leaves"' if i % 2 else "organ"
        lines.append(f"{youtube(i)},{30 + i},{label},{'test' if i >= count - 4 else 'train'}")
        start = f"{30 + i:06d}" if i % 3 else f"{30 + i}"
        minis.sound(folder / "train-audios" / "train-set" / f"{youtube(i)}_{start}.wav", 300 + 50 * i)
        minis.frames(folder / "train-videos/train-set-img/Image-01-FPS" / f"{youtube(i)}_{start}.mp4", 9 * i)
    minis.table(folder / "vggsound.csv", *lines)
    return folder


def test_vggsounds_labels_keep_their_commas_and_folders_named_mp4_are_frames(tmp_path):
    vgg(tmp_path)
    samples = vggsound.samples(tmp_path)
    assert samples.classes == ("organ", "wind, in leaves")
    assert Counter(samples.split) == {"train": 8, "test": 4}
    assert all(cell[0].is_dir() and cell[0].suffix == ".mp4" for cell in samples.cells["video"])
    assert all(cell[0].is_file() for cell in samples.cells["audio"])


def test_vggsounds_lists_of_files(tmp_path):
    folder = vgg(tmp_path)
    minis.table(folder / "train.csv", f"{youtube(1)}_000031.mp4,organ")
    minis.table(folder / "test.csv", f'{youtube(2)}_000032.mp4,"wind, in leaves"')
    assert rows(vggsound.samples(tmp_path)) == {
        f"{youtube(1)}_000031": ("train", "organ"),
        f"{youtube(2)}_000032": ("test", "wind, in leaves"),
    }


def test_vggsound_whole(tmp_path):
    vgg(tmp_path)
    options = {**SMALL, "spectrogram": "257x188"}
    dataset = load_dataset("vggsound", options, tmp_path, tmp_path / "cache")
    assert dataset.spec.modalities == inputs("vggsound", options)
    assert dataset.spec.sizes == {"train": 7, "validation": 1, "test": 4}


@pytest.mark.parametrize(
    ("name", "write"), [("crema_d", minis.crema), ("kinetics_sounds", kinetics), ("vggsound", vgg)]
)
def test_the_fingerprint_is_of_lists_and_media(tmp_path, name, write):
    write(tmp_path)
    before = fingerprint(name, {}, tmp_path)
    sounds = sorted(tmp_path.rglob("*.wav"))
    minis.sound(sounds[0], 999)
    assert fingerprint(name, {}, tmp_path) != before
