"""The decoders of SyncHuman's second stage: those of TRELLIS, each voxel seeing the pictures it is projected to.

From "SyncHuman: Synchronizing 2D and 3D Generative Models for Single-view Human Reconstruction" (2025). Agrees with
SLatGaussianDecoder and SLatMeshDecoder of IGL-HKUST/SyncHuman, commit 1b540b7.
Letters: B objects, N voxels, V views, S side of the grid, F features of a picture, C channels, M channels of a view.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from networks import trellis
from networks.layers.norm import LayerNorm
from networks.layers.transformer import Block
from networks.ops.voxels import Voxels, Windows
from networks.trellis.slat_decoder_gs import SLatGaussianDecoder
from networks.trellis.slat_decoder_mesh import SLatMeshDecoder
from networks.trellis.slat_trunk import SLatDecoder

# Which of front, right, back and left a mode looks at.
MODES: dict[str, tuple[int, ...]] = {"4_view": (0, 1, 2, 3), "front&back": (0, 2)}
_ACROSS = (0, 1, 0, 1)  # the coordinate that a picture's columns run along: x, y, x, y
_LAYERS = 4  # of the image encoder, whose features are joined
_WIDER = 4  # hidden channels of the condition's layers, whatever mlp_ratio is


class MVCondition(nn.Sequential):
    """(N, C) of (N, C) normed rows and (N, D) condition beside them, through two linear layers."""

    def __init__(self, channels: int, condition: int) -> None:
        hidden = _WIDER * channels
        super().__init__(nn.Linear(channels + condition, hidden), nn.GELU("tanh"), nn.Linear(hidden, channels))

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:  # type: ignore[override]
        first, act, second = self
        # In two products, since beside each other both would be copied, and the condition is ten times as wide.
        weight, bias = cast(nn.Linear, first).weight, cast(nn.Linear, first).bias
        split = x.shape[1]
        h = torch.addmm(functional.linear(x, weight[:, :split], bias), condition, weight[:, split:].T)
        result: Tensor = second(act(h))
        return result


class MVBlock(Block):
    """Self-attention, what the pictures show, and feed-forward, behind norms without parameters."""

    def __init__(self, channels: int, heads: int, ratio: float, normed: bool = False, *, condition: int) -> None:
        super().__init__(channels, heads, ratio, normed)
        self.norm3 = LayerNorm(channels)
        self.mv_condition = MVCondition(channels, condition)

    def forward(self, x: Tensor, windows: Windows, condition: Tensor) -> Tensor:  # type: ignore[override]
        """
        Args:
            condition: (N, D) normals before colours. Only attention sorts its rows by window, not this.
        """
        order = windows.order
        x = x + torch.empty_like(x).index_copy_(0, order, self.attn(self.norm1(x)[order], windows.segments))
        x = x + self.mv_condition(self.norm3(x), condition)
        result: Tensor = x + self.mlp(self.norm2(x))
        return result


class MVDecoder(SLatDecoder):
    """What both decoders have: a condition of pictures.

    Args:
        mv_condition_mode: one of MODES.
        use_multiscale, use_faceinfo: only True and False exist in the checkpoints; anything else is refused.
        mv_dim: channels of a view; the features have four times as many.
        config: the arguments of TRELLIS's decoder.
    """

    def __init__(
        self,
        mv_condition_mode: str = "4_view",
        use_multiscale: bool = True,
        use_faceinfo: bool = False,
        mv_dim: int = 1024,
        **config: Any,
    ) -> None:
        if mv_condition_mode not in MODES:
            raise ValueError(f"mv_condition_mode is {mv_condition_mode!r}; use {' or '.join(map(repr, MODES))}")
        if use_faceinfo or not use_multiscale:
            raise ValueError(
                f"use_multiscale is {use_multiscale} and use_faceinfo {use_faceinfo}; only True and False are known"
            )
        views = MODES[mv_condition_mode]
        super().__init__(**config, block=partial(MVBlock, condition=2 * len(views) * mv_dim))
        self.mv_dim, self._views = mv_dim, views
        self.input_layer_color = nn.Linear(_LAYERS * mv_dim, mv_dim)
        self.input_layer_normal = nn.Linear(_LAYERS * mv_dim, mv_dim)

    def condition(self, colour: Tensor, normal: Tensor, voxels: Voxels) -> Tensor:
        """(N, 2 V M) what each voxel sees in the torso's type, normals before colours.

        Args:
            colour, normal: (B, 4, S, S, F) features of the pictures front, right, back and left, as they were
                generated: columns run along +x, +y, +x, +y.
        """
        result = torch.empty(len(voxels), 2 * len(self._views) * self.mv_dim, dtype=self.dtype, device=voxels.device)
        columns = iter(result.split(self.mv_dim, dim=1))  # one at a time, as they are wide
        for layer, features in ((self.input_layer_normal, normal), (self.input_layer_color, colour)):
            for seen in view_samples(layer(features).to(self.dtype), voxels, self._views):
                next(columns).copy_(seen)
        return result

    def run_block(self, block: nn.Module, h: Tensor, windows: Windows, condition: Tensor | None) -> Tensor:
        result: Tensor = block(h, windows, condition)
        return result


def view_samples(pictures: Tensor, voxels: Voxels, views: tuple[int, ...] = MODES["4_view"]) -> Iterator[Tensor]:
    """(N, M) of (B, 4, S, S, M) pictures for each view: what every voxel is projected to.

    Raises:
        ValueError: there are other pictures than of four sides for each object, or voxels lie outside them.
    """
    items, side, reach = len(voxels.segments), pictures.shape[2], int(voxels.coords[:, 1:].max())
    if pictures.shape[:2] != (items, 4) or reach >= side:
        raise ValueError(
            f"features are {tuple(pictures.shape)}; give those of 4 pictures for each of {items} objects, "
            f"on a grid of at least {reach + 1} cells"
        )
    item, *place = voxels.coords.long().T
    for view in views:
        yield pictures[item, view, side - 1 - place[2], place[_ACROSS[view]]]


class MVGaussianDecoder(MVDecoder, SLatGaussianDecoder):
    """Gaussians around every voxel. Constructor arguments as in the official configuration."""

    def forward(self, x: Tensor, voxels: Voxels, colour: Tensor, normal: Tensor) -> Tensor:  # type: ignore[override]
        """(N, 14 G) raw features of (N, latent_channels) latents; `parameters_of` takes them apart.

        Args:
            colour, normal: (B, 4, S, S, F) features of the pictures, as `condition` takes them.
        """
        return super().forward(x, voxels, self.condition(colour, normal, voxels))


class MVMeshDecoder(MVDecoder, SLatMeshDecoder):
    """Features of the cubes around the surface. Constructor arguments as in the official configuration."""

    def forward(  # type: ignore[override]
        self,
        x: Tensor,
        voxels: Voxels,
        colour: Tensor,
        normal: Tensor,
        rows: int | None = None,
        onto: torch.device | None = None,
    ) -> tuple[Tensor, Voxels]:
        """(64 N, 101 or 53) float32 features, and the voxels they belong to, as SLatMeshDecoder gives them.

        Args:
            colour, normal: (B, 4, S, S, F) features of the pictures, as `condition` takes them.
            rows, onto: as there.
        """
        return super().forward(x, voxels, rows, onto, self.condition(colour, normal, voxels))


DECODERS: dict[str, type[MVDecoder]] = {"SLatGaussianDecoder": MVGaussianDecoder, "SLatMeshDecoder": MVMeshDecoder}


def build(config: Mapping[str, Any]) -> nn.Module:
    """The network of one of the second stage's configurations, {"name": class, "args": constructor arguments}.

    What is no decoder, such as the latent flow, is TRELLIS's own.

    Raises:
        ValueError: the class is not known, or an argument cannot be met.
    """
    name = str(config["name"])
    if name not in DECODERS:
        return trellis.build(config)
    try:
        return DECODERS[name](**config["args"])
    except TypeError as error:
        raise ValueError(f"the arguments of {name} do not fit: {error}") from None
