"""Pictures on white → what the CLIP image encoder and the image latents' encoder are given.

Letters: N pictures, S their side, P side of the CLIP encoder's picture.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from pipelines.foreground import Floats, Pixels


@dataclass(frozen=True)
class ClipPictures:
    """How pictures are made ready for the CLIP image encoder.

    Attributes:
        shortest: side to which the shorter one is resized.
        crop: height and width of the middle that is kept.
        resample: Pillow's number of the filter.
        mean, std: of the normalisation.
    """

    shortest: int
    crop: tuple[int, int]
    resample: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "ClipPictures":
        """As a `preprocessor_config.json` has it; sizes may be numbers, as they were once.

        Raises:
            ValueError: it is of pictures prepared in another way.
        """
        for step in ("do_resize", "do_center_crop", "do_normalize", "do_rescale"):
            if not config.get(step, True):
                raise ValueError(f"{step} is false; pictures are only prepared with it")
        size, crop = config.get("size", 224), config.get("crop_size", 224)
        if isinstance(size, dict) and "shortest_edge" not in size:
            raise ValueError(f"size is {size}; only {{'shortest_edge': …}} is known")
        return cls(
            shortest=size["shortest_edge"] if isinstance(size, dict) else size,
            crop=(crop["height"], crop["width"]) if isinstance(crop, dict) else (crop, crop),
            resample=config.get("resample", Image.Resampling.BICUBIC),
            mean=tuple(config["image_mean"]),
            std=tuple(config["image_std"]),
        )


def truncated(pictures: Floats) -> Pixels:
    """The same in 8 bits, cut off and not rounded, as the reference has it."""
    return (pictures * np.float32(255)).astype(np.uint8)


def clip_input(pictures: Pixels, settings: ClipPictures) -> Tensor:
    """(N, 3, P, P) of (N, S, S, 3) uint8."""
    squares = np.stack([_resized(picture, settings) for picture in pictures])
    mean, std = (torch.tensor(values)[:, None, None] for values in (settings.mean, settings.std))
    return (torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255 - mean) / std


def _resized(picture: Pixels, settings: ClipPictures) -> Pixels:
    height, width = picture.shape[:2]
    scale = settings.shortest / min(height, width)
    size = (int(width * scale), int(height * scale))
    resized = Image.fromarray(picture).resize(size, Image.Resampling(settings.resample))
    rows, columns = settings.crop
    left, top = (size[0] - columns) // 2, (size[1] - rows) // 2
    return np.asarray(resized.crop((left, top, left + columns, top + rows)))


def vae_input(pictures: Pixels) -> Tensor:
    """(N, 3, S, S) in [-1, 1] of (N, S, S, 3) uint8."""
    return torch.from_numpy(pictures.copy()).permute(0, 3, 1, 2).float() / 255 * 2 - 1
