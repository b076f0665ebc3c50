"""Spectrograms of sound files: what they show, and that they are computed once, whole or not at all."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import soundfile

from sweeper.models.data.readers import audio
from sweeper.models.errors import UserError

RATE = 8000
SETTINGS = {"sample_rate": RATE, "seconds": 0.5, "n_fft": 256, "hop": 128, "n_mels": 20}
SHAPE = {"logmel": (20, 32), "logstft": (129, 32)}


def tone(frequency=1000, seconds=0.5, rate=RATE, loudness=0.5):
    return loudness * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)


def sounds(folder, *waves, rate=RATE, suffix=".wav"):
    paths = [folder / f"{i}{suffix}" for i in range(len(waves))]
    for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, wave, rate)
    return paths


def compute(folder, paths, **changes):
    return audio.features(paths, folder / "cache", **(SETTINGS | changes))


def arrays_in(folder):
    return sorted((folder / "cache").glob("*.npy"))


@pytest.fixture
def builds(monkeypatch):
    """The names of the arrays that were computed."""
    seen = []
    build = audio._build
    monkeypatch.setattr(audio, "_build", lambda final, *rest: (seen.append(final.name), build(final, *rest)))
    return seen


@pytest.mark.parametrize("kind", SHAPE)
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_features_are_one_read_only_array_on_disk(tmp_path, kind, suffix):
    found = compute(tmp_path, sounds(tmp_path, tone(), tone(500), suffix=suffix), kind=kind)
    assert found.shape == (2, 1, *SHAPE[kind])
    assert found.dtype == np.float32
    assert isinstance(found, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 0


@pytest.mark.parametrize("frequency", [500, 1000, 2500])
def test_a_tone_is_loudest_at_its_frequency_and_the_loudest_is_0_db(tmp_path, frequency):
    found = compute(tmp_path, sounds(tmp_path, tone(frequency)), kind="logstft")[0, 0]
    assert (found[:, 5:-5].argmax(0) == frequency * 256 // RATE).all()
    assert found.max() == pytest.approx(0, abs=1e-5)
    assert found.min() == pytest.approx(-80)


def test_bands_rise_with_frequency(tmp_path):
    found = compute(tmp_path, sounds(tmp_path, *(tone(f) for f in (200, 800, 2000, 3500))))
    loudest = found[:, 0, :, 10].argmax(1)
    assert (np.diff(loudest) > 0).all()


def test_how_loud_a_recording_is_does_not_show(tmp_path):
    loud, soft = compute(tmp_path, sounds(tmp_path, tone(loudness=0.8), tone(loudness=0.1)))
    voiced = loud > -50  # below, the rounding of 16-bit files shows
    np.testing.assert_allclose(soft[voiced], loud[voiced], atol=0.3)


def test_silence_and_padding_lie_on_the_floor(tmp_path):
    silent, short = compute(tmp_path, sounds(tmp_path, np.zeros(4000), tone(seconds=0.2)))
    assert silent == pytest.approx(-80)
    assert short[..., 16:] == pytest.approx(-80)


def test_what_comes_after_the_given_seconds_does_not_matter(tmp_path):
    wave = np.concatenate([tone(seconds=0.5), tone(300, seconds=1)])
    long, cut = compute(tmp_path, sounds(tmp_path, wave, wave[: RATE // 2]))
    np.testing.assert_array_equal(long, cut)


def test_channels_are_averaged(tmp_path):
    both = np.stack([tone(500), tone(2000)], axis=1)
    stereo, mono = compute(tmp_path, sounds(tmp_path, both, both.mean(1)))
    np.testing.assert_allclose(stereo, mono, atol=0.5)


def test_other_sample_rates_are_resampled(tmp_path):
    found = compute(tmp_path, sounds(tmp_path, tone(rate=22050), rate=22050), kind="logstft")[0, 0]
    assert (found[:, 5:-5].argmax(0) == 32).all()


def test_a_second_call_reads_what_the_first_wrote(tmp_path, builds):
    paths = sounds(tmp_path, tone())
    first = compute(tmp_path, paths)
    stamp = arrays_in(tmp_path)[0].stat().st_mtime_ns
    np.testing.assert_array_equal(compute(tmp_path, paths), first)
    assert len(builds) == 1
    assert arrays_in(tmp_path)[0].stat().st_mtime_ns == stamp


@pytest.mark.parametrize("change", [{"hop": 64}, {"n_mels": 16}, {"seconds": 0.4}, {"kind": "logstft"}])
def test_other_settings_are_another_array(tmp_path, builds, change):
    paths = sounds(tmp_path, tone())
    compute(tmp_path, paths)
    compute(tmp_path, paths, **change)
    assert len(set(builds)) == 2


def test_other_contents_or_another_order_are_another_array(tmp_path, builds):
    paths = sounds(tmp_path, tone(), tone(500))
    compute(tmp_path, paths)
    compute(tmp_path, paths[::-1])
    sounds(tmp_path, tone(loudness=0.3))
    compute(tmp_path, paths)
    assert len(set(builds)) == 3


def test_bands_do_not_concern_plain_frequencies(tmp_path, builds):
    paths = sounds(tmp_path, tone())
    compute(tmp_path, paths, kind="logstft")
    compute(tmp_path, paths, kind="logstft", n_mels=5)
    assert len(builds) == 1


SLOW_BUILD = """
import sys, time
import numpy as np
from pathlib import Path
from sweeper.models.data.readers import audio

build, folder = audio._build, Path(sys.argv[1])
audio._spectrograms = lambda *settings: iter([np.full((20, 32), float(sys.argv[2]))])

def slow(final, shape, rows):
    with (folder / "built").open("a") as log:
        log.write("once ")
    time.sleep(0.5)
    build(final, shape, rows)

audio._build = slow
(folder / f"ready{sys.argv[2]}").touch()
while len(list(folder.glob("ready*"))) < 2:
    time.sleep(0.01)
settings = dict(sample_rate=8000, seconds=0.5, n_fft=256, hop=128, n_mels=20)
print(float(audio.features([folder / "0.wav"], folder / "cache", **settings).sum()))
"""


def test_of_two_processes_at_once_one_computes_and_the_other_waits(tmp_path):
    sounds(tmp_path, tone())
    start = partial(subprocess.Popen, stdout=subprocess.PIPE, text=True)
    both = [start([sys.executable, "-c", SLOW_BUILD, str(tmp_path), str(i)]) for i in range(2)]
    sums = {process.communicate(timeout=60)[0] for process in both}
    assert [process.returncode for process in both] == [0, 0]
    assert len(sums) == 1
    assert (tmp_path / "built").read_text() == "once "
    assert len(arrays_in(tmp_path)) == 1
    assert not list((tmp_path / "cache").glob("*.part"))


def absent(path):
    path.unlink()


def cut(path):
    path.write_bytes(path.read_bytes()[:1500])


def foreign(path):
    path.write_bytes(b"this is no sound")


def empty(path):
    soundfile.write(path, np.zeros(0), RATE)


@pytest.mark.parametrize("damage", [absent, cut, foreign, empty])
def test_a_file_that_cannot_be_read_is_named_and_nothing_half_done_stays(tmp_path, damage):
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    paths = sounds(tmp_path, tone(), noise, suffix=".flac")
    compute(tmp_path, paths)
    damage(paths[1])
    with pytest.raises(UserError, match=r"1\.flac .*; replace it or take it away") as caught:
        compute(tmp_path, paths)
    assert "\n" not in str(caught.value)
    assert len(arrays_in(tmp_path)) == 1  # that of the whole files
    assert not list((tmp_path / "cache").glob("*.part"))


def test_sound_that_is_not_a_number_is_refused(tmp_path):
    path = tmp_path / "0.wav"
    soundfile.write(path, np.full(4000, np.nan, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(UserError, match=r"0\.wav holds 0 usable samples of 4000"):
        compute(tmp_path, [path])


@pytest.mark.parametrize("change", [{"hop": 0}, {"seconds": 0.01}, {"n_mels": 0}, {"sample_rate": -8000}])
def test_impossible_settings_are_refused(tmp_path, change):
    with pytest.raises(UserError, match="all must be positive, with n_fft samples or more"):
        compute(tmp_path, sounds(tmp_path, tone()), **change)


def test_bands_without_a_frequency_are_refused(tmp_path):
    with pytest.raises(UserError, match="n_mels=250 leaves bands without a frequency at n_fft=256"):
        compute(tmp_path, sounds(tmp_path, tone()), n_mels=250)
    assert not arrays_in(tmp_path)
