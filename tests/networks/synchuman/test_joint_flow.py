"""The loop takes Euler's steps with guided velocities, however they are computed."""

import pytest
import torch
from torch import Tensor

from networks.samplers.flow_euler import schedule
from networks.synchuman.cross_space_model import CrossSpaceModel
from networks.synchuman.joint_flow import JointVelocity, Picture, class_labels, joint_flow
from networks.synchuman.rows import Rows
from tests.networks.drawing import normal
from tests.networks.synchuman.tiny import IMAGE, SIDE, joint_model

TIMES = schedule(2, 3.0)
IMAGES, STRUCTURE = normal(10, 4, IMAGE, IMAGE), normal(1, 8, SIDE, SIDE, SIDE, seed=1)
PICTURE = Picture(
    normal(2, 12, seed=2), normal(2, 4, IMAGE, IMAGE, seed=3), normal(10, 7, 24, seed=4), normal(1, 9, 24)
)


@pytest.fixture(scope="module")
def model() -> CrossSpaceModel:
    return joint_model()


@pytest.fixture(scope="module")
def result(model: CrossSpaceModel) -> tuple[Tensor, Tensor]:
    return JointVelocity(model, PICTURE, TIMES)(IMAGES, STRUCTURE, 1)


def close(ours: tuple[Tensor, Tensor], theirs: tuple[Tensor, Tensor]) -> bool:
    return all(
        mine.shape == wanted.shape and float((mine - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())
        for mine, wanted in zip(ours, theirs, strict=True)
    )


def test_the_picture_pushes_the_velocity_away_from_that_without_it(
    model: CrossSpaceModel, result: tuple[Tensor, Tensor]
) -> None:
    source = [0, 0, 0, 0, 1] * 2  # the body for four views, then the face
    moments, one = model.moments(torch.tensor(TIMES.timesteps)), Rows(1)
    labels = torch.cat([PICTURE.embeddings, torch.ones(2, 6), torch.zeros(2, 6)], dim=1)[source]
    with_it = model.given(labels, PICTURE.prompt, PICTURE.tokens, one, 1)
    without = model.given(torch.zeros_like(labels), PICTURE.prompt, torch.zeros_like(PICTURE.tokens), one, 1)
    latents = PICTURE.latents[source]
    c = model(torch.cat([IMAGES, latents], dim=1), STRUCTURE, moments, with_it, 1)
    u = model(torch.cat([IMAGES, torch.zeros_like(latents)], dim=1), STRUCTURE, moments, without, 1)
    assert close(result, (u[0] + 3 * (c[0] - u[0]), u[1] + 3 * (c[1] - u[1])))


@pytest.mark.parametrize(("one_batch", "at_once"), [(False, None), (True, 4)])
def test_the_way_of_computing_does_not_matter(
    model: CrossSpaceModel, result: tuple[Tensor, Tensor], one_batch: bool, at_once: int | None
) -> None:
    velocity = JointVelocity(model, PICTURE, TIMES, one_batch=one_batch, at_once=at_once)
    assert close(velocity(IMAGES, STRUCTURE, 1), result)


def test_a_step_is_one_of_eulers_and_taken_when_it_is_asked_for() -> None:
    asked: list[int] = []

    def velocity(images: Tensor, structure: Tensor, step: int) -> tuple[Tensor, Tensor]:
        asked.append(step)
        return 0.5 * images, torch.full_like(structure, step + 1)

    images, structure = IMAGES[:, :1, :2, :2].half(), STRUCTURE[..., :1]
    steps = joint_flow(images, structure, schedule(3, 3.0), velocity)
    first = next(steps)
    assert asked == [0] and first.index == 0
    *_, last = steps
    assert asked == [0, 1, 2] and last.index == 2
    times = [1, 6 / 7, 3 / 5, 0]
    shrunk, moved = images.float(), structure
    for index, (t, after) in enumerate(zip(times, times[1:], strict=False)):
        shrunk, moved = shrunk * (1 - (t - after) / 2), moved - (t - after) * (index + 1)
    assert last.images.dtype == torch.float32
    assert torch.allclose(last.images, shrunk, atol=1e-6) and torch.allclose(last.structure, moved, atol=1e-6)


def test_the_level_of_noise_behind_an_embedding_is_none() -> None:
    labels = class_labels(PICTURE.embeddings)
    assert torch.equal(labels, torch.cat([PICTURE.embeddings, torch.ones(2, 6), torch.zeros(2, 6)], dim=1))
