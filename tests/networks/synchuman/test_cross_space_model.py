"""The joint model's branches hear each other at the right places, and it is built only from what it can be."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor

from networks.precision import set_torso
from networks.synchuman.cross_space_model import CrossSpaceModel
from networks.synchuman.rows import Rows
from networks.weights import fill
from tests.networks.drawing import normal
from tests.networks.synchuman.tiny import CONFIG, IMAGE, SIDE, joint_model

BOTH = Rows(2)
X, Z = normal(BOTH.count, 8, IMAGE, IMAGE), normal(2, 8, SIDE, SIDE, SIDE, seed=1)
LABELS, PROMPT, COND = normal(BOTH.count, 24, seed=2), normal(10, 7, 24, seed=3), normal(1, 9, 24, seed=4)
T = torch.tensor([900.3, 611.7])


@pytest.fixture(scope="module")
def model() -> CrossSpaceModel:
    return joint_model()


@pytest.fixture(scope="module")
def result(model: CrossSpaceModel) -> tuple[Tensor, Tensor]:
    """Of the first half under the picture's tokens, of the second without."""
    return model(X, Z, model.moments(T), model.given(LABELS, PROMPT, COND, BOTH, 1), step=1)


def close(ours: Tensor, theirs: Tensor, tolerance: float = 1e-5) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < tolerance * float(theirs.abs().max())


def of_half(rows: Tensor, half: int) -> Tensor:
    """The rows of one half."""
    return BOTH.split(rows)[:, half].flatten(0, 1)


@contextmanager
def silent(layer: torch.nn.Linear) -> Iterator[None]:
    """The layer gives zeros while the context lasts."""
    kept = layer.weight.clone(), layer.bias.clone()
    layer.weight.zero_(), layer.bias.zero_()
    yield
    layer.weight.copy_(kept[0]), layer.bias.copy_(kept[1])


@pytest.mark.parametrize("half", [0, 1])
def test_halves_together_are_halves_alone(model: CrossSpaceModel, result: tuple[Tensor, Tensor], half: int) -> None:
    """And a half without the picture's tokens sees zeros; a timestep is the same among others and by itself."""
    cond = COND if half == 0 else torch.zeros_like(COND)
    alone = model.given(of_half(LABELS, half), PROMPT, cond, Rows(1), 1)
    images, structure = model(of_half(X, half), Z[half : half + 1], model.moments(T[1:]), alone)
    assert close(images, of_half(result[0], half))
    assert close(structure, result[1][half : half + 1])


def test_both_branches_hear_each_other(model: CrossSpaceModel, result: tuple[Tensor, Tensor]) -> None:
    """And what the voxels learn on the UNet's way up reaches no image."""
    given = model.given(of_half(LABELS, 0), PROMPT, COND, Rows(1), 1)
    images, structure = of_half(result[0], 0), result[1][:1]

    def run(x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        return model(x, z, model.moments(T[1:]), given)

    assert not close(run(of_half(X, 0), -Z[:1])[0], images, 1e-2)
    assert not close(run(-of_half(X, 0), Z[:1])[1], structure, 1e-2)
    with silent(model.dual_CrossAttblocks_SS[1].output_layer_stucture):
        other_images, other_structure = run(of_half(X, 0), Z[:1])
    assert close(other_images, images) and not close(other_structure, structure, 1e-2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_goes_through_the_torso_and_not_through_the_ends(dtype: torch.dtype) -> None:
    """On the meta device, which refuses to mix types as any other does; half a minute on a CPU."""
    model = joint_model().to("meta")
    set_torso(model, dtype)
    seen: dict[str, torch.dtype] = {}
    for name, part in model.named_children():
        part.register_forward_hook(lambda _part, _args, result, name=name: seen.update({name: result.dtype}))
    labels, prompt, cond, x, z, t = (tensor.to("meta") for tensor in (LABELS, PROMPT, COND, X, Z, T))
    images, structure = model(x, z, model.moments(t), model.given(labels, prompt, cond, BOTH, 1))
    assert (images.shape, structure.shape) == ((BOTH.count, 4, IMAGE, IMAGE), (2, 8, SIDE, SIDE, SIDE))
    ends = {"conv_in", "conv_norm_out", "conv_out", "time_embedding", "class_embedding"}
    ends |= {"t_embedder", "input_layer", "out_layer"}
    assert {name for name, kind in seen.items() if kind == torch.float32} == ends
    assert seen["mid_block"] == dtype and {images.dtype, structure.dtype} == {torch.float32}


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA card")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_on_a_card_says_nearly_the_same(result: tuple[Tensor, Tensor], dtype: torch.dtype) -> None:
    model = joint_model().cuda()
    set_torso(model, dtype)
    labels, prompt, cond, x, z, t = (tensor.cuda() for tensor in (LABELS, PROMPT, COND, X, Z, T))
    ours = model(x, z, model.moments(t), model.given(labels, prompt, cond, BOTH, 1), step=1)
    for mine, wanted in zip(ours, result, strict=True):
        assert 0 < float((mine.cpu() - wanted).norm() / wanted.norm()) < 5e-2


def test_the_voxels_timestep_is_of_float16_in_any_half_precision() -> None:
    model = joint_model()
    exact = model.moments(torch.tensor([997.3]))
    for dtype in (torch.float16, torch.bfloat16):
        set_torso(model, dtype)
        halves = model.moments(torch.tensor([997.3]))
        assert torch.equal(halves.images, exact.images)
        assert torch.equal(halves.structure.embedding, model.t_embedder(torch.tensor([997.5])).to(dtype))
        assert not torch.equal(halves.structure.embedding, exact.structure.embedding.to(dtype))


def test_a_file_may_hold_the_table_of_places_and_need_not(model: CrossSpaceModel) -> None:
    tensors = dict(model.state_dict())
    table = tensors.pop("pos_emb")
    with torch.device("meta"):
        networks = [CrossSpaceModel(**CONFIG) for _ in range(2)]
    assert torch.equal(fill(networks[0], tensors).pos_emb, table)
    assert torch.equal(fill(networks[1], tensors | {"pos_emb": 2 * table}).pos_emb, 2 * table)


def test_what_training_noted_down_does_not_matter() -> None:
    notes: dict[str, Any] = {"_class_name": "SyncHuman_2D3DCrossSpaceDiffusion", "_diffusers_version": "0.29.1"}
    notes |= {"decay": 0.9999, "inv_gamma": 1.0, "min_decay": 0.0, "power": 0.67, "optimization_step": 42500}
    notes |= {"update_after_step": 0, "use_ema_warmup": False, "center_input_sample": False, "mv_cond_channels": 640}
    notes |= {"addition_channels": [1280], "upcast_attention": True, "sparse_mv_attention": True, "mid_size": None}
    with torch.device("meta"):
        names = [set(CrossSpaceModel(**config).state_dict()) for config in (CONFIG, CONFIG | notes)]
    assert names[0] == names[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"center_input_sample": True}, "center_input_sample is True; the joint model has only False"),
        ({"selfattn_block": "self_full"}, "selfattn_block is 'self_full'; the joint model has only 'self_rowwise'"),
        ({"use_dino": True}, "use_dino is True"),
        ({"num_dual_CrossAttblocks": 3}, "num_dual_CrossAttblocks is 3"),
        ({"patch_size": 2}, "patch_size is 2"),
        ({"class_embed_type": None}, "class_embed_type is None; the joint model has only 'projection'"),
        ({"rope": 3}, "rope = 3, which is not known"),
        ({"pe_mode": "rope"}, "pe_mode is 'rope'"),
        ({"attention_head_dim": [1, 1]}, "the levels of the UNet differ in number: .*attention_head_dim"),
        ({"attention_head_dim": [1, 5, 2]}, "32 channels, which 5 heads do not divide"),
        ({"sample_size": 96}, "sample_size is 96; levels with attention must end at 24 and 12 once each"),
        ({"down_block_types": ["DownBlock2D"] * 3}, "must end at 24 and 12 once each"),
        (
            {"down_block_types": ["CrossAttnDownBlockMV2D", "CrossAttnDownBlockMV2D", "DownBlock3D"]},
            "down_block_types has 'DownBlock3D'",
        ),
        (
            {"up_block_types": ["UpBlock2D"] * 3},
            r"ss_dims of the synchronisation blocks are \[32, 64\]; the UNet has \[32\]",
        ),
        ({"up_block_types": ["UpBlock2D", "CrossAttnUpBlockMV2D", "UpBlock3D"]}, "up_block_types has 'UpBlock3D'"),
        (
            {"block_out_channels": [32, 64, 64]},
            r"mv_dims of the synchronisation blocks are \[32, 64\]; the UNet has \[64, 64\]",
        ),
    ],
)
def test_what_it_does_not_have_is_refused(change: dict[str, Any], message: str) -> None:
    with torch.device("meta"), pytest.raises(ValueError, match=message):
        CrossSpaceModel(**CONFIG | change)
