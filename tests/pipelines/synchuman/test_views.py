"""The second stage sees the five pictures as they were generated, and cameras see them as they are."""

import numpy as np
import pytest
import torch
from torch import Tensor

from pipelines.synchuman.views import MultiView, encoder_pictures, feature_grid


def pictures(side: int = 12, seed: int = 0) -> MultiView:
    draw = np.random.default_rng(seed)
    colour, normal = draw.integers(0, 256, (2, 5, side, side, 3), np.uint8)
    return MultiView(colour, normal)


@pytest.mark.parametrize("view", range(5))
def test_back_and_left_are_mirrored_and_the_others_are_not(view: int) -> None:
    made = pictures()
    colour, something = made.seen(view)
    turned = [made.colour[view], (made.normal[view].min(axis=2) < 230)]
    if view in (2, 3):
        turned = [part[:, ::-1] for part in turned]
    assert np.array_equal(colour, turned[0]) and np.array_equal(something, turned[1])


def test_one_dark_channel_of_the_normals_is_something_and_230_is_not() -> None:
    made = pictures()
    made.normal[0] = 255
    made.normal[0, 2, 3, 1], made.normal[0, 4, 5] = 229, 230
    assert np.argwhere(made.seen(0)[1]).tolist() == [[2, 3]]


@pytest.mark.parametrize("shape", [(4, 8, 8, 3), (5, 8, 6, 3), (8, 8, 3)])
def test_other_than_five_squares_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="give 5 squares of each"):
        MultiView(np.zeros(shape, np.uint8), np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="give 5 squares of each"):
        MultiView(np.zeros((5, 8, 8, 3), np.uint8), np.zeros(shape, np.uint8))


def test_the_encoder_is_shown_each_channel_at_mean_zero_and_deviation_one() -> None:
    shown = encoder_pictures(np.tile(np.array([124, 116, 104], np.uint8), (2, 6, 6, 1)), 14)
    assert shown.shape == (2, 3, 14, 14) and shown.abs().max() < 0.01
    white = encoder_pictures(np.full((1, 6, 6, 3), 255, np.uint8), 14)[0, :, 0, 0]
    assert torch.allclose(white, torch.tensor([0.515 / 0.229, 0.544 / 0.224, 0.594 / 0.225]))


def test_pictures_are_enlarged_linearly_between_the_centres_of_pixels() -> None:
    step = np.zeros((1, 2, 2, 3), np.uint8)
    step[:, :, 1] = 255
    row = encoder_pictures(step, 8)[0, 0, 3]
    share = (row - row[0]) / (row[-1] - row[0])
    assert torch.allclose(share, torch.tensor([0, 0, 0.125, 0.375, 0.625, 0.875, 1, 1]), atol=1e-6)


def test_features_are_in_reading_order_the_layers_joined() -> None:
    made, asked = pictures(16), []

    def encode(pixels: Tensor) -> list[Tensor]:
        asked.append(pixels.shape)
        tokens = pixels[:, :, 7::14, 7::14].flatten(2).mT
        return [tokens, -tokens]

    grid = feature_grid(made.colour[:4], encode, side=42)
    assert grid.shape == (1, 4, 3, 3, 6) and asked == [(1, 3, 42, 42)] * 4
    middles = encoder_pictures(made.colour[:4], 42)[:, :, 7::14, 7::14].permute(0, 2, 3, 1)
    assert torch.equal(grid[0, ..., :3], middles) and torch.equal(grid[0, ..., 3:], -middles)
