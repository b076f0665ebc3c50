"""Spectrograms and waveforms of sound files and videos: what they show, and what the papers' settings give."""

from __future__ import annotations

import os
from pathlib import Path

import av
import librosa
import numpy as np
import pytest
import soundfile

from sweeper.models.data import load_dataset
from sweeper.models.data.readers.base import Unreadable
from sweeper.models.data.readers.sound import Sound
from sweeper.models.data.readers.store import stored
from sweeper.models.errors import UserError
from sweeper.models.values import InputSpec

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


def compute(paths, form="logmel", **changes):
    reader = Sound(form=form, **(SETTINGS | changes))
    return np.stack([reader.read((path,)) for path in paths])


@pytest.mark.parametrize("form", SHAPE)
@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_spectrogram_is_an_image_of_bands_and_steps(tmp_path, form, suffix):
    found = compute(sounds(tmp_path, tone(), tone(500), suffix=suffix), form=form)
    assert found.shape == (2, 1, *SHAPE[form])
    assert found.dtype == np.float32
    assert Sound(form=form, **SETTINGS).spec() == InputSpec("image", (1, *SHAPE[form]))


@pytest.mark.parametrize("frequency", [500, 1000, 2500])
def test_a_tone_is_loudest_at_its_frequency_and_the_loudest_is_0_db(tmp_path, frequency):
    found = compute(sounds(tmp_path, tone(frequency)), form="logstft")[0, 0]
    assert (found[:, 5:-5].argmax(0) == frequency * 256 // RATE).all()
    assert found.max() == pytest.approx(0, abs=1e-5)
    assert found.min() == pytest.approx(-80)


def test_bands_rise_with_frequency(tmp_path):
    found = compute(sounds(tmp_path, *(tone(f) for f in (200, 800, 2000, 3500))))
    loudest = found[:, 0, :, 10].argmax(1)
    assert (np.diff(loudest) > 0).all()


def test_how_loud_a_recording_is_does_not_show(tmp_path):
    loud, soft = compute(sounds(tmp_path, tone(loudness=0.8), tone(loudness=0.1)))
    voiced = loud > -50  # below, the rounding of 16-bit files shows
    np.testing.assert_allclose(soft[voiced], loud[voiced], atol=0.3)


def test_silence_and_padding_lie_on_the_floor(tmp_path):
    silent, short = compute(sounds(tmp_path, np.zeros(4000), tone(seconds=0.2)))
    assert silent == pytest.approx(-80)
    assert short[..., 16:] == pytest.approx(-80)


def test_what_comes_after_the_given_seconds_does_not_matter(tmp_path):
    wave = np.concatenate([tone(seconds=0.5), tone(300, seconds=1)])
    long, cut = compute(sounds(tmp_path, wave, wave[: RATE // 2]))
    np.testing.assert_array_equal(long, cut)


def test_channels_are_averaged(tmp_path):
    both = np.stack([tone(500), tone(2000)], axis=1)
    stereo, mono = compute(sounds(tmp_path, both, both.mean(1)))
    np.testing.assert_allclose(stereo, mono, atol=0.5)


def test_other_sample_rates_are_resampled(tmp_path):
    found = compute(sounds(tmp_path, tone(rate=22050), rate=22050), form="logstft")[0, 0]
    assert (found[:, 5:-5].argmax(0) == 32).all()


def cut(path):
    path.write_bytes(path.read_bytes()[:1500])


def foreign(path):
    path.write_bytes(b"this is no sound")


def empty(path):
    soundfile.write(path, np.zeros(0), RATE)


@pytest.mark.parametrize("damage", [cut, foreign, empty])
def test_a_file_that_cannot_be_read_says_why(tmp_path, damage):
    noise = np.random.default_rng(0).normal(0, 0.1, 4000)
    (path,) = sounds(tmp_path, noise, suffix=".flac")
    damage(path)
    with pytest.raises(Unreadable) as caught:
        compute([path])
    assert str(caught.value)
    assert str(path) not in str(caught.value)


def test_sound_that_is_not_a_number_is_refused(tmp_path):
    path = tmp_path / "0.wav"
    soundfile.write(path, np.full(4000, np.nan, np.float32), RATE, subtype="FLOAT")
    with pytest.raises(Unreadable, match="it holds 0 usable samples of 4000"):
        compute([path])


@pytest.mark.parametrize("change", [{"hop": 0}, {"seconds": 0.01}, {"n_mels": 0}, {"sample_rate": -8000}])
def test_impossible_settings_are_refused(change):
    with pytest.raises(UserError, match="all must be positive, with n_fft samples or more"):
        Sound(**(SETTINGS | change))


def test_bands_without_a_frequency_are_refused(tmp_path):
    with pytest.raises(UserError, match="n_mels=250 leaves bands without a frequency at n_fft=256"):
        compute(sounds(tmp_path, tone()), n_mels=250)


def test_a_recording_by_time_is_as_long_as_it_is(tmp_path):
    short, long = sounds(tmp_path, tone(seconds=0.2), tone(seconds=2))
    bands = Sound(form="logmel", axes="sequence", **SETTINGS)
    assert bands.spec() == InputSpec("sequence", (32, 20))
    assert [bands.read((path,)).shape for path in (short, long)] == [(13, 20), (32, 20)]
    image = Sound(form="logmel", **SETTINGS).read((short,))[0]
    np.testing.assert_allclose(bands.read((short,))[:10], image.T[:10])
    wave = Sound(form="wave", **SETTINGS)
    assert wave.spec() == InputSpec("audio", (4000,))
    assert [wave.read((path,)).shape for path in (short, long)] == [(1600,), (4000,)]


def test_a_wave_is_what_the_file_holds(tmp_path):
    (path,) = sounds(tmp_path, tone())
    np.testing.assert_allclose(Sound(form="wave", **SETTINGS).read((path,)), tone(), atol=1e-4)


def test_a_short_recording_may_be_repeated(tmp_path):
    (path,) = sounds(tmp_path, tone(seconds=0.2))
    wave = Sound(form="wave", fill="repeat", **SETTINGS).read((path,))
    assert len(wave) == 4000
    np.testing.assert_array_equal(wave[1600:3200], wave[:1600])


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        ({"form": "logstft", "seconds": 3, "hop": 353}, (1, 257, 188)),  # OGM-GE
        ({"form": "logstft", "seconds": 20, "hop": 353}, (1, 257, 1250)),  # LFM as released
        ({"form": "psd", "seconds": 2.17687, "hop": 159}, (1, 257, 299)),  # PMR and LFM
        ({"form": "psd", "seconds": 7.25624, "hop": 159}, (1, 257, 1004)),
        ({"form": "whisper"}, (3000, 80)),
    ],
)
def test_the_papers_settings_give_the_papers_shapes(tmp_path, settings, shape):
    (path,) = sounds(tmp_path, tone())
    reader = Sound(sample_rate=22050, n_fft=512, fill="repeat", scale="log", **settings)
    sample = reader.read((path,))
    assert reader.spec() == InputSpec("image" if len(shape) == 3 else "sequence", shape)
    assert (sample.shape, sample.dtype) == (shape, np.float32)


def test_the_log_scale_is_of_magnitudes(tmp_path):
    wave = tone(1000, loudness=0.5)  # in the middle of a frequency's band, a Hann window sums to n_fft / 2
    found = compute(sounds(tmp_path, wave), form="logstft", scale="log")[0, 0]
    assert found[32, 10] == pytest.approx(np.log(0.5 / 2 * 256 / 2), abs=0.01)


def test_a_density_is_standardised_by_itself(tmp_path):
    found = compute(sounds(tmp_path, tone()), form="psd")
    assert found.mean() == pytest.approx(0, abs=1e-4)
    assert found.std() == pytest.approx(1, abs=1e-4)


def test_whispers_log_mel_is_that_of_transformers(tmp_path):
    from transformers import WhisperFeatureExtractor

    wave = tone(440, 1.0, 16000) + np.random.default_rng(0).normal(0, 0.01, 16000)
    (path,) = sounds(tmp_path, wave, rate=16000)
    wave, _ = soundfile.read(path, dtype="float32")
    wanted = WhisperFeatureExtractor()(wave, sampling_rate=16000, return_tensors="np").input_features[0]
    found = Sound(form="whisper").read((path,))
    steps = (
        103  # 16,000 samples reach windows of 400 around every 160th up to the 102nd; one of silence follows
    )
    assert found.shape == (steps, 80)
    np.testing.assert_allclose(found.T, wanted[:, :steps], atol=2e-3)
    assert found[-1].tolist() == [found.min()] * 80
    np.testing.assert_allclose(wanted[:, steps:], found.min(), atol=2e-3)


def film(path, codec, wave):
    """Write a video with a sound track of two channels."""
    with av.open(str(path), "w") as container:
        track = container.add_stream(codec, rate=RATE, layout="stereo")
        both = np.stack([wave, wave]).astype(np.float32)
        for start in range(0, len(wave), 1000):
            frame = av.AudioFrame.from_ndarray(both[:, start : start + 1000].copy(), "fltp", "stereo")
            frame.sample_rate, frame.pts = RATE, start
            container.mux(track.encode(frame))
        container.mux(track.encode())


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mkv", "pcm_s16le"), ("a.mp4", "aac"), ("a.avi", "pcm_s16le")]
)
def test_the_sound_of_a_video_is_read(tmp_path, name, codec):
    film(tmp_path / name, codec, tone(1000, 1.0))
    wave = Sound(form="wave", **SETTINGS).read((tmp_path / name,))
    assert wave.shape == (4000,)
    assert np.abs(np.fft.rfft(wave)).argmax() == 500


def test_a_video_without_sound_says_so(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        track = container.add_stream("mpeg4", rate=5)
        track.width = track.height = 16
        frame = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8))
        container.mux([*track.encode(frame), *track.encode()])
    with pytest.raises(Unreadable, match="it has no audio track"):
        Sound(form="wave", **SETTINGS).read((tmp_path / "a.mkv",))


def test_several_recordings_in_a_cell_are_refused(tmp_path):
    with pytest.raises(Unreadable, match="it names 2 recordings; one is read"):
        Sound().read((tmp_path / "a.wav", tmp_path / "b.wav"))


needs_data = pytest.mark.skipif("SWEEPER_DATA" not in os.environ, reason="SWEEPER_DATA is not set")


@needs_data
def test_spoken_digits_are_the_numbers_that_studies_began_with(tmp_path):
    """To the digit: finished runs are not done again."""
    found = load_dataset("fsdd", {}, cache=tmp_path).inputs
    began = [-29.10456657409668, -11.278233528137207, -9.683005332946777, -7.199682712554932]
    np.testing.assert_allclose(found["logmel"][7, 0, 5, :4], began, atol=1e-4)  # of whichever processor
    path = sorted(Path(os.environ["SWEEPER_DATA"], "fsdd_mini_flac").glob("*.flac"))[7]
    wave, _ = soundfile.read(path, dtype="float32")
    power = np.abs(librosa.stft(np.pad(wave, (0, 8000))[:8000], n_fft=256, hop_length=256)) ** 2
    mel = librosa.filters.mel(sr=RATE, n_fft=256, n_mels=32) @ power
    for form, own in (("logmel", mel), ("logstft", power)):
        decibels = librosa.power_to_db(own / own.max(), amin=1e-8, top_db=None)
        np.testing.assert_array_equal(found[form][7, 0], decibels)


@needs_data
def test_the_sound_of_grids_clips_is_as_long_as_they_are(tmp_path):
    paths = sorted(Path(os.environ["SWEEPER_DATA"], "grid_digits", "raw").glob("*.mpg"))
    reader = Sound(form="wave", seconds=4)
    samples, lengths, failures = stored([(path,) for path in paths], reader, tmp_path)
    assert failures == {}
    assert lengths is None
    assert samples.shape[1] / 16000 == pytest.approx(75 / 25, abs=0.05)
    assert samples.std(1).min() > 0.01
