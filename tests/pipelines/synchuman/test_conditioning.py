"""Pictures reach the encoders as the official preparation makes them."""

import json
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.synchuman.conditioning import ClipPictures, clip_input, truncated, vae_input

OFFICIAL: dict[str, Any] = {
    "crop_size": {"height": 224, "width": 224},
    "do_center_crop": True,
    "do_convert_rgb": True,
    "do_normalize": True,
    "do_rescale": True,
    "do_resize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "resample": 3,
    "size": {"shortest_edge": 224},
}


def test_levels_are_cut_off_and_not_rounded() -> None:
    assert truncated(np.array([0, 0.999 / 255, 1.999 / 255, 1], np.float32)).tolist() == [0, 0, 1, 255]
    levels = np.arange(256, dtype=np.uint8)
    assert np.array_equal(truncated(levels.astype(np.float32) / 255), levels), "whole levels stay"


def test_a_plain_picture_stays_plain() -> None:
    plain = np.full((2, 768, 768, 3), (255, 0, 128), np.uint8)
    settings = ClipPictures.from_config(OFFICIAL)
    pixels = clip_input(plain, settings)
    assert pixels.shape == (2, 3, 224, 224)
    wanted = (np.array([1, 0, 128 / 255]) - OFFICIAL["image_mean"]) / OFFICIAL["image_std"]
    assert (pixels - torch.tensor(wanted, dtype=torch.float32)[:, None, None]).abs().max() < 1e-6
    assert (vae_input(plain)[:, :, 0, 0] - torch.tensor([1, -1, 128 / 255 * 2 - 1])).abs().max() < 1e-6


def test_the_shorter_side_is_resized_and_the_middle_kept() -> None:
    wide = np.zeros((1, 100, 300, 3), np.uint8)
    wide[:, :, 96:204] = 255
    settings = ClipPictures(50, (50, 50), Image.Resampling.BICUBIC, (0.0,) * 3, (1.0,) * 3)
    assert (clip_input(wide, settings) == 1).all()


def test_older_files_have_numbers_for_sizes() -> None:
    older = {**OFFICIAL, "size": 224, "crop_size": 224, "feature_extractor_type": "CLIPFeatureExtractor"}
    assert ClipPictures.from_config(json.loads(json.dumps(older))) == ClipPictures.from_config(OFFICIAL)


@pytest.mark.parametrize(
    ("change", "told"),
    [({"do_resize": False}, "do_resize is false"), ({"size": {"height": 224, "width": 224}}, "shortest_edge")],
)
def test_another_preparation_is_refused(change: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        ClipPictures.from_config(OFFICIAL | change)
