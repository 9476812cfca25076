"""Synchronisation blocks: every voxel looks at the pixels it projects to, every pixel at the voxels on its ray.

Source: SyncHuman (arXiv 2510.07723), section 3.2; agrees with DualCrossAttentionSS and DualCrossAttentionMV of
IGL-HKUST/SyncHuman, commit 1b540b7. Submodules keep the checkpoint's spelling ("stucture").

The voxels of a (x, y, z) grid, z up, are seen from four sides: front and back images have x along their columns, right
and left ones y, and all of them z from top to bottom. The face view sees no voxel and is seen by none.

Letters: R rows (domain, half, view), D domains, B halves, V views, S side of the voxel grid, I side of the images,
C channels, H heads, E head size; x y z voxels, r c pixels.
"""

import torch
from diffusers.models.attention import FeedForward
from torch import Tensor, nn

from networks.layers.norm import LayerNorm
from networks.ops.attention import attention
from networks.synchuman.attention import MultiHead
from networks.synchuman.mv_transformer import GroupNorm
from networks.synchuman.rows import Rows

_GROUPS = 32
_NORMAL = 0  # the domain; 1 is colour
_ALONG_X, _ALONG_Y = slice(0, 4, 2), slice(1, 4, 2)  # the views whose columns run so: front and back, right and left
_SIDES = 4


class _Pooled(nn.Module):
    """A map or a volume normed and convolved once, then its means on a grid of another side."""

    def __init__(self, channels: int, convolution: type[nn.Conv2d] | type[nn.Conv3d]) -> None:
        super().__init__()
        self.conv = nn.Sequential(GroupNorm(_GROUPS, channels), convolution(channels, channels, 3, padding=1))

    def forward(self, x: Tensor, side: int) -> Tensor:
        h = nn.functional.gelu(self.conv(x))
        pool = nn.functional.adaptive_avg_pool2d if x.ndim == 4 else nn.functional.adaptive_avg_pool3d
        return pool(h, side)


class VoxelsFromImages(nn.Module):
    """Voxel tokens that have looked at the normal images, each at four pixels."""

    def __init__(self, image_channels: int, structure_channels: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.normStructure1 = LayerNorm(structure_channels, affine=True)
        self.normStructure2 = LayerNorm(structure_channels, affine=True)
        self.imagedownsample = _Pooled(image_channels, nn.Conv2d)
        self.input_layer_mv = nn.Linear(image_channels, image_channels)
        self.input_layer_stucture = nn.Linear(structure_channels, structure_channels)
        self.output_layer_stucture = nn.Linear(structure_channels, structure_channels)
        self.ffn_stucture = FeedForward(dim=structure_channels, activation_fn="geglu")
        self.cross_attn_MV_to_Structure = MultiHead(structure_channels, heads, head_size, image_channels)

    def pooled(self, x: Tensor, rows: Rows, side: int) -> Tensor:
        """(B, 4, C, side, side) of the normal images but the face, from (R, C, I, I)."""
        seen = x.unflatten(0, (rows.domains, rows.halves, rows.views))[_NORMAL, :, :_SIDES].flatten(0, 1)
        pixels = self.input_layer_mv(seen.movedim(1, -1)).movedim(-1, 1)
        return self.imagedownsample(pixels, side).unflatten(0, (rows.halves, _SIDES))

    def forward(self, x: Tensor, h: Tensor, rows: Rows) -> Tensor:
        """
        Args:
            x: (R, C, I, I) images.
            h: (B, S^3, structure channels) tokens in (x, y, z) order, z fastest.
        """
        side = round(h.shape[1] ** (1 / 3))
        # Row 0 of an image is the top: flipped, rows count like z.
        pixels = self.pooled(x, rows, side).flip(3).permute(0, 1, 3, 4, 2)  # (B, 4, z, c, C)
        g = self.input_layer_stucture(h)
        g = g + self._attend(self.normStructure1(g), pixels)
        g = g + self.ffn_stucture(self.normStructure2(g))
        return h + self.output_layer_stucture(g)

    def _attend(self, g: Tensor, pixels: Tensor) -> Tensor:
        attend, side = self.cross_attn_MV_to_Structure, pixels.shape[2]
        # Scaled before the products, which would sooner leave the range of half precision.
        q = attend.queries(g).unflatten(1, (side, side, side)) * attend.scale
        k, v = attend.keys_values(pixels)
        # A column is an x or a y, so two batched products have all four scores of a voxel, and none is copied to it.
        scores = [
            torch.einsum("bxyzhe,bvzxhe->bxyzhv", q, k[:, _ALONG_X]),
            torch.einsum("bxyzhe,bvzyhe->bxyzhv", q, k[:, _ALONG_Y]),
        ]
        weights = torch.cat(scores, dim=-1).float().softmax(dim=-1).to(v.dtype)
        across, along = weights.split(2, dim=-1)
        mixed = torch.einsum("bxyzhv,bvzxhe->bxyzhe", across, v[:, _ALONG_X])
        mixed = mixed + torch.einsum("bxyzhv,bvzyhe->bxyzhe", along, v[:, _ALONG_Y])
        return attend.out(mixed.flatten(1, 3))


class ImagesFromVoxels(nn.Module):
    """Images that have looked at the voxels, each pixel at all on its ray; the face stays as it is."""

    def __init__(self, image_channels: int, structure_channels: int, heads: int, head_size: int) -> None:
        super().__init__()
        self.norm = LayerNorm(image_channels)
        self.voxeldownsample = _Pooled(structure_channels, nn.Conv3d)
        self.input_layer_mv = nn.Linear(image_channels, image_channels)
        self.input_layer_stucture = nn.Linear(structure_channels, structure_channels)
        self.output_layer_no = nn.Linear(image_channels, image_channels)
        self.output_layer_clr = nn.Linear(image_channels, image_channels)
        self.ffn_no = FeedForward(dim=image_channels, activation_fn="geglu")
        self.ffn_clr = FeedForward(dim=image_channels, activation_fn="geglu")
        self.cross_attn_Structure_to_normal = MultiHead(image_channels, heads, head_size, structure_channels)
        self.cross_attn_Structure_to_color = MultiHead(image_channels, heads, head_size, structure_channels)

    def pooled(self, h: Tensor, side: int) -> Tensor:
        """(B, C, side, side, side) of (B, S^3, C) tokens."""
        voxels = round(h.shape[1] ** (1 / 3))
        volume = self.input_layer_stucture(h).mT.unflatten(2, (voxels, voxels, voxels))
        return self.voxeldownsample(volume, side)

    def forward(self, x: Tensor, h: Tensor, rows: Rows) -> Tensor:
        """
        Args:
            x: (R, C, I, I) images.
            h: (B, S^3, structure channels) tokens in (x, y, z) order, z fastest.
        """
        # Flipped, z counts like the rows of an image.
        voxels = self.pooled(h, x.shape[-1]).movedim(1, -1).flip(3)  # (B, x, y, r, C)
        domains = (
            (self.cross_attn_Structure_to_normal, self.ffn_no, self.output_layer_no),
            (self.cross_attn_Structure_to_color, self.ffn_clr, self.output_layer_clr),
        )
        result = x.clone()
        sides = result.unflatten(0, (rows.domains, rows.halves, rows.views))[:, :, :_SIDES]
        for images, (attend, feed, out) in zip(sides, domains, strict=True):
            y = self.input_layer_mv(images.movedim(2, -1))  # (B, 4, r, c, C)
            y = y + _along_rays(attend, self.norm(y), voxels)
            y = y + feed(self.norm(y))
            images += out(y).movedim(-1, 2)
        return result


def _along_rays(attend: MultiHead, y: Tensor, voxels: Tensor) -> Tensor:
    """(B, 4, r, c, C) what the pixels of four images see of (B, x, y, r, C) voxels."""
    q = attend.queries(y).permute(0, 2, 3, 1, 4, 5)  # (B, r, c, 4, H, E)
    k, v = (part.permute(0, 3, 1, 2, 4, 5) for part in attend.keys_values(voxels))  # (B, r, x, y, H, E)
    # Two images look along each ray, from both its ends.
    pairs = torch.stack([q[:, :, :, _ALONG_X], q[:, :, :, _ALONG_Y]]).flatten(0, 3)
    rays = (torch.stack([part, part.transpose(2, 3)]).flatten(0, 3) for part in (k, v))
    seen = attention(pairs, *rays).unflatten(0, (2, *q.shape[:3]))  # (2, B, r, c, 2, H, E)
    return attend.out(seen.permute(1, 4, 0, 2, 3, 5, 6).flatten(1, 2))  # front, right, back, left
