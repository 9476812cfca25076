"""Voxels and pixels look at each other exactly where the one projects to the other."""

import pytest
import torch
from torch import Tensor, nn

from networks.synchuman.rows import Rows
from networks.synchuman.sync_attention import ImagesFromVoxels, VoxelsFromImages
from tests.networks.drawing import drawn, normal

SIDE, IMAGE, WIDTH, STRUCTURE, HEADS, SIZE = 4, 6, 32, 64, 2, 8
ROWS = Rows(2)
X, H = normal(ROWS.count, WIDTH, IMAGE, IMAGE), normal(ROWS.halves, SIDE**3, STRUCTURE, seed=1)
CELLS = torch.cartesian_prod(*(torch.arange(SIDE),) * 3).unbind(1)  # x, y, z of every voxel
PIXELS = torch.cartesian_prod(*(torch.arange(IMAGE),) * 2).unbind(1)  # row, column of every pixel


def block(kind: type[VoxelsFromImages] | type[ImagesFromVoxels]) -> nn.Module:
    return drawn(kind(WIDTH, STRUCTURE, HEADS, SIZE)).requires_grad_(False).eval()


def close(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < 1e-5 * float(theirs.abs().max())


def one_by_one(attend: nn.Module, queries: Tensor, keys: Tensor) -> Tensor:
    """(N, C) what each of N queries gets of its own keys (N, M, C')."""
    heads = [part.unflatten(-1, (HEADS, SIZE)) for part in (attend.to_q(queries), attend.to_k(keys), attend.to_v(keys))]
    weights = (torch.einsum("nhe,nmhe->nhm", *heads[:2]) * SIZE**-0.5).softmax(dim=-1)
    return attend.to_out[0](torch.einsum("nhm,nmhe->nhe", weights, heads[2]).flatten(1))


def test_a_voxel_looks_at_the_four_pixels_it_projects_to() -> None:
    sync = block(VoxelsFromImages)
    x, y, z = CELLS
    pooled = sync.pooled(X, ROWS, SIDE).movedim(2, -1)  # (B, 4, r, c, C)
    wanted = []
    for tokens, (front, right, back, left) in zip(H, pooled, strict=True):
        row = SIDE - 1 - z
        keys = torch.stack([front[row, x], right[row, y], back[row, x], left[row, y]], dim=1)
        g = sync.input_layer_stucture(tokens)
        g = g + one_by_one(sync.cross_attn_MV_to_Structure, sync.normStructure1(g), keys)
        wanted.append(tokens + sync.output_layer_stucture(g + sync.ffn_stucture(sync.normStructure2(g))))
    assert close(sync(X, H, ROWS), torch.stack(wanted))


def test_a_pixel_looks_at_all_voxels_on_its_ray() -> None:
    sync = block(ImagesFromVoxels)
    row, column = PIXELS
    pooled = sync.pooled(H, IMAGE).movedim(1, -1)  # (B, x, y, z, C)
    images = ROWS.split(X)
    wanted = images.clone()
    parts = [
        (sync.cross_attn_Structure_to_normal, sync.ffn_no, sync.output_layer_no),
        (sync.cross_attn_Structure_to_color, sync.ffn_clr, sync.output_layer_clr),
    ]
    for domain, (attend, feed, out) in enumerate(parts):
        for half in range(ROWS.halves):
            volume = pooled[half].flip(2)  # its third axis counts like the rows
            along_y, along_x = volume.transpose(1, 2)[column, row], volume.permute(1, 2, 0, 3)[column, row]
            for view, keys in enumerate([along_y, along_x, along_y, along_x]):
                y = sync.input_layer_mv(images[domain, half, view].flatten(1).T)
                y = y + one_by_one(attend, sync.norm(y), keys)
                y = out(y + feed(sync.norm(y)))
                wanted[domain, half, view] += y.T.unflatten(1, (IMAGE, IMAGE))
    assert close(sync(X, H, ROWS), wanted.flatten(0, 2))


def test_only_normals_but_the_face_tell_the_voxels_anything() -> None:
    sync = block(VoxelsFromImages)
    wanted = sync(X, H, ROWS)
    others = ROWS.split(X).clone()
    others[1], others[:, :, ROWS.face] = 7, -7
    assert torch.equal(sync(others.flatten(0, 2), H, ROWS), wanted)
    others[0, 1, 3, :, 0, 0] += 1
    changed = sync(others.flatten(0, 2), H, ROWS) != wanted
    assert not changed[0].any() and changed[1].any()


def test_the_face_sees_no_voxel() -> None:
    sync = block(ImagesFromVoxels)
    ours, given = ROWS.split(sync(X, H, ROWS)), ROWS.split(X)
    assert torch.equal(ours[:, :, ROWS.face], given[:, :, ROWS.face])
    assert (ours[:, :, ROWS.body] != given[:, :, ROWS.body]).all(dim=(3, 4, 5)).all()


@pytest.mark.parametrize("kind", [VoxelsFromImages, ImagesFromVoxels])
def test_halves_do_not_meet(kind: type[VoxelsFromImages] | type[ImagesFromVoxels]) -> None:
    sync = block(kind)
    both = sync(X, H, ROWS)
    for half in range(2):
        alone = sync(ROWS.split(X)[:, half].flatten(0, 1), H[half : half + 1], Rows(1))
        wanted = both[half : half + 1] if kind is VoxelsFromImages else ROWS.split(both)[:, half].flatten(0, 1)
        assert close(alone, wanted)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("kind", [VoxelsFromImages, ImagesFromVoxels])
def test_half_precision_says_nearly_the_same(
    kind: type[VoxelsFromImages] | type[ImagesFromVoxels], dtype: torch.dtype
) -> None:
    sync = block(kind)
    wanted = sync(X, H, ROWS)
    for layer in sync.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d | nn.Conv3d):
            layer.to(dtype)
    ours = sync(X.to(dtype), H.to(dtype), ROWS)
    assert ours.dtype == dtype
    assert 0 < float((ours.float() - wanted).norm() / wanted.norm()) < 2e-2
