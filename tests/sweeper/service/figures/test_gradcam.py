"""`sweeper gradcam`: a figure of what each net of a finished study looks at."""

from __future__ import annotations

import pytest

from tests.sweeper.conftest import TINY

PICTURES = {"name": "synthetic", "kind": "image", "train": 48, "validation": 24, "test": 24}
SMALL = {"search": {"configurations": 1, "seeds": [0]}, "final": {"seeds": [100]}, "train": {"epochs": 1}}


@pytest.fixture
def finished(here, study_file):
    methods = ["joint", {"name": "unimodal", "space": {"modality": "m0"}}]
    assert here("run", study_file(dataset=PICTURES, methods=methods, **SMALL)).code == 0
    return here


def test_every_net_that_reads_the_image_has_a_line(finished, tmp_path):
    told = finished("gradcam", "tiny", "--rows", 0, 3)
    assert told.code == 0
    (file,) = (tmp_path / "store" / "studies" / "tiny" / "figures").glob("gradcam-*m0.png")
    assert str(file) in told.out
    assert file.read_bytes().startswith(b"\x89PNG")
    told = finished("gradcam", "tiny", "--modality", "m1", "--rows", 0)
    assert "left out: unimodal: it does not read m1" in told.out


def test_what_cannot_be_drawn_is_told_in_a_sentence(finished):
    for arguments, said in (
        (("tiny", "--modality", "sound"), "unknown modality 'sound' in the images of study 'tiny'"),
        (("tiny", "--rows", 24), "has no arm to draw; joint: there is no test row 24; admissible: 0 to 23"),
        (("tine",), "unknown study 'tine'"),
    ):
        told = finished("gradcam", *arguments)
        assert (told.code, told.err.count("\n")) == (2, 1)
        assert said in told.err


def test_a_study_without_images_has_none_to_draw(here, study_file):
    assert here("run", study_file(**{**TINY, **SMALL})).code == 0
    told = here("gradcam", "tiny")
    assert (told.code, "study 'tiny' has no modality that is an image" in told.err) == (2, True)
