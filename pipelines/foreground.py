"""Picture file -> RGBA pixels -> the object cut out -> a square canvas, for every pipeline."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from scipy import ndimage

from pipelines.errors import InputError

Pixels = NDArray[Any]  # uint8
Floats = NDArray[Any]  # float32
Mask = NDArray[Any]  # bool
SMALLEST_SIDE = 8
LONGEST_SIDE = 2048  # larger pictures are reduced: no texture needs more
SMALLEST_SHARE = 0.002  # of the picture that the object must cover
DUST = 2e-4  # share of the picture below which spots and pin-holes are ignored
MATTE_SIDE = 256  # of the reduced picture on which GrabCut works
CLUTTER = 5.0  # L*a*b* residual of the border from which a background is no longer plain
SHADELESS = 0.2  # residual up to which a background is drawn, not photographed: nothing there is a shadow
LEAST_GUESS = 0.02  # share of a cluttered picture that must differ from its border to be taken as the object
REMEDY = "send a PNG with transparency around the object, or a photo of one object on a plain background"

cv2.setNumThreads(1)


@dataclass(frozen=True)
class Cutout:
    """An object without its background.

    Attributes:
        rgba: (H, W, 4) uint8, straight alpha.
        matte: where the alpha came from.
        residual: how far the background is from plain, L*a*b* units; None when the picture had alpha.
    """

    rgba: Pixels
    matte: Literal["alpha", "grabcut"]
    residual: float | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def rim(self) -> float:
        """Pixels along the outline whose colour may be mixed with the background's."""
        return 0.8 if self.matte == "alpha" else max(1.0, 1.2 * max(self.rgba.shape[:2]) / MATTE_SIDE)


def read_picture(path: Path, longest: int = LONGEST_SIDE) -> Pixels:
    """(H, W, 4) uint8 sRGB pixels, upright, at most `longest` on a side.

    Raises:
        InputError: the file is no picture, is damaged, or is too small.
    """
    try:
        with Image.open(path) as image:
            image.draft("RGB", (longest, longest))
            image.load()
            upright = ImageOps.exif_transpose(image)
            pixels = np.asarray(_reduced(_to_rgba(upright), longest))
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise InputError(f"{path.name} cannot be read as a picture ({error}); send a PNG, JPEG or WebP file") from error
    height, width = pixels.shape[:2]
    if max(height, width) < SMALLEST_SIDE or min(height, width) < 2:
        raise InputError(f"the picture is {width} x {height} pixels; send one of at least 16 x 16")
    return pixels


def _to_rgba(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        image = Image.fromarray(_eight_bits(np.asarray(image, np.float32)))
    return image.convert("RGBA")


def _eight_bits(values: Floats) -> Pixels:
    """Sixteen-bit, integer or floating grey as uint8; the range in use decides the scale."""
    values = np.nan_to_num(values)
    top = float(values.max(initial=0))
    scale = 255.0 if top <= 1 else 1.0 if top <= 255 else 255 / max(top, 65535.0)
    return np.clip(values * np.float32(scale), 0, 255).astype(np.uint8)


def _reduced(image: Image.Image, longest: int) -> Image.Image:
    """The picture at most `longest` on a side; Pillow weighs colours by their alpha."""
    scale = longest / max(image.size)
    if scale >= 1:
        return image
    size = tuple(max(2, round(side * scale)) for side in image.size)
    return image.resize(size, Image.Resampling.BOX, reducing_gap=2.0)  # type: ignore[arg-type]


def cut_out(rgba: Pixels) -> Cutout:
    """The object by the picture's own alpha, or by GrabCut where the picture is opaque.

    Raises:
        InputError: there is nothing to see, or nothing that stands out from its background.
    """
    alpha = rgba[..., 3]
    if alpha.max() == 0:
        raise InputError(f"the picture is fully transparent; {REMEDY}")
    if alpha.min() == alpha.max() or (alpha > 127).mean() > 0.998:
        return _by_grabcut(np.dstack([rgba[..., :3], np.full_like(alpha, 255)]))
    warnings = []
    if alpha.max() <= 160:
        warnings.append(f"the picture's alpha reaches {int(alpha.max())} of 255 only; it was scaled up")
        alpha = (alpha.astype(np.float32) * (255.0 / float(alpha.max()))).round().astype(np.uint8)
    cleaned = without_dust(alpha)
    _check_share(cleaned)
    return Cutout(np.dstack([rgba[..., :3], cleaned]), "alpha", None, warnings)


def without_dust(alpha: Pixels, share: float = DUST) -> Pixels:
    """The alpha without spots and pin-holes too small to be meant."""
    least = share * alpha.size
    result = alpha.copy()
    for solid, replacement in ((True, 0), (False, 255)):
        mask = (result > 127) == solid
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8 if solid else 4)
        sizes = stats[:, cv2.CC_STAT_AREA]
        small = sizes < min(least, sizes[1:].max(initial=0) * 0.5)
        small[0] = False
        result[small[labels] & mask] = replacement
    return result


def _check_share(alpha: Pixels) -> None:
    share = float((alpha > 127).mean())
    if share < SMALLEST_SHARE:
        raise InputError(
            f"the object covers {share:.2%} of the picture, less than {SMALLEST_SHARE:.1%}; crop it closer"
        )


def _by_grabcut(rgba: Pixels) -> Cutout:
    height, width = rgba.shape[:2]
    scale = min(1.0, MATTE_SIDE / max(height, width))
    size = (max(round(width * scale), 8), max(round(height * scale), 8))
    small = np.ascontiguousarray(cv2.resize(rgba[..., :3], size, interpolation=cv2.INTER_AREA))
    plain, residual = _background(small)
    rough = _grabcut(small, _difference(small, plain), residual)
    share = float(rough.mean())
    if share < SMALLEST_SHARE or share > 0.97:
        found = "no object stands out from its background" if share < 0.5 else "the object fills the whole picture"
        raise InputError(f"{found} and the picture has no transparency; {REMEDY}")
    alpha = _upsampled(rough, rgba[..., :3])
    warnings = []
    if residual >= CLUTTER:
        warnings.append(f"the background is not plain (residual {residual:.1f}); the cut-out may be wrong: {REMEDY}")
    else:
        alpha = _sharpened(alpha, rough, _length(_difference(rgba[..., :3], plain)))
    whole = without_dust((alpha * 255).round().astype(np.uint8))
    _check_share(whole)
    return Cutout(np.dstack([rgba[..., :3], whole]), "grabcut", residual, warnings)


def _quadratic(height: int, width: int) -> Floats:
    """(H, W, 6) the terms of a quadratic polynomial in x and y, both from -1 to 1."""
    y = ((np.arange(height, dtype=np.float32) + 0.5) * 2 / height - 1)[:, None]
    x = ((np.arange(width, dtype=np.float32) + 0.5) * 2 / width - 1)[None]
    return np.stack(np.broadcast_arrays(np.float32(1), x, y, x * x, x * y, y * y), axis=-1)


def _background(image: Pixels) -> tuple[Floats, float]:
    """(6, 3) the quadratic L*a*b* surface through the border's colours, and the border's median distance from it."""
    border = np.ones(image.shape[:2], bool)
    border[4:-4, 4:-4] = False
    terms = _quadratic(*image.shape[:2])[border].astype(np.float64)
    colours = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[border].astype(np.float64)
    weight = np.ones(len(terms))
    for _ in range(4):
        normal = np.einsum("ni,nj,n->ij", terms, terms, weight) + 1e-6 * np.eye(6)
        factors = np.linalg.solve(normal, np.einsum("ni,nc,n->ic", terms, colours, weight))
        error = np.sqrt(((np.einsum("ni,ic->nc", terms, factors) - colours) ** 2).sum(axis=1))
        weight = 1 / (1 + (error / 6) ** 2)
    return factors, float(np.median(error))


def _difference(image: Pixels, plain: Floats) -> Floats:
    """(H, W, 3) how far every pixel's L*a*b* lies from the background's surface."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    lab -= np.einsum("hwi,ic->hwc", _quadratic(*image.shape[:2]), plain.astype(np.float32))
    return lab


def _length(vectors: Floats) -> Floats:
    return np.sqrt((vectors * vectors).sum(axis=2))


def _is_shadow(difference: Floats) -> Mask:
    """Where the background could lie in shade: somewhat darker, of hardly another colour."""
    darker, tint = -difference[..., 0], _length(difference[..., 1:])
    return (darker > 0) & (darker < 35) & (tint < 4 + 0.25 * darker)


def _grabcut(image: Pixels, difference: Floats, residual: float) -> Mask:
    limit, distance = max(12.0, 4 * residual), _length(difference)
    marks = np.where(distance < limit, cv2.GC_PR_BGD, cv2.GC_PR_FGD).astype(np.uint8)
    if residual < CLUTTER:
        marks[distance < 0.4 * limit] = cv2.GC_BGD
        marks[distance > 60] = cv2.GC_FGD
        if residual > SHADELESS:
            marks[_is_shadow(difference) & (marks == cv2.GC_PR_FGD)] = cv2.GC_PR_BGD
    elif (distance >= limit).mean() < LEAST_GUESS:
        # The border tells nothing; people put what they mean in the middle.
        marks[_middle(*marks.shape)] = cv2.GC_PR_FGD
    strip = max(1, max(image.shape) // 64)
    edge = np.ones(marks.shape, bool)
    edge[strip:-strip, strip:-strip] = False
    marks[edge] = cv2.GC_BGD
    is_object = (marks & 1).astype(bool)
    if is_object.sum() >= 16 and (~is_object).sum() >= 16:
        cv2.setRNGSeed(0)  # its colour clusters start at random places
        cv2.grabCut(image, marks, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
        is_object = (marks & 1).astype(bool)
    return _without_false_holes(_main_parts(is_object), distance, residual)


def _middle(height: int, width: int) -> Mask:
    terms = _quadratic(height, width)
    return terms[..., 3] + terms[..., 5] < 0.64


def _main_parts(mask: Mask) -> Mask:
    """The mask without parts that are small beside the largest."""
    label, count = ndimage.label(mask)
    if count == 0:
        return mask
    size = np.bincount(label.ravel())
    size[0] = 0
    return (size >= 0.04 * size.max())[label]


def _without_false_holes(mask: Mask, distance: Floats, residual: float) -> Mask:
    """The mask with enclosed holes filled, except those through which a plain background shows."""
    holes, count = ndimage.label(ndimage.binary_fill_holes(mask) & ~mask)
    for hole in range(1, count + 1):
        inside = holes == hole
        if residual >= CLUTTER or np.median(distance[inside]) > max(3.0, 3 * residual):
            mask = mask | inside
    return mask


def _upsampled(mask: Mask, image: Pixels) -> Floats:
    """The small mask at the picture's size, its edge following the picture's own edges (guided filter)."""
    height, width = image.shape[:2]
    soft = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    guide = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    reach = max(1, round(3 * max(height, width) / max(mask.shape)))
    fine = _guided(guide, soft, reach, 1e-4)
    return np.where((soft > 0.02) & (soft < 0.98), np.clip((fine - 0.5) * 2 + 0.5, 0, 1), soft > 0.5).astype(np.float32)


def _sharpened(alpha: Floats, rough: Mask, distance: Floats) -> Floats:
    """The alpha near the rough outline by colour: how far a pixel is on its way from background to object."""
    height, width = alpha.shape
    step = max(alpha.shape) / max(rough.shape)
    inside = cv2.resize(rough.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    away: Floats = cv2.distanceTransform((inside > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    away += cv2.distanceTransform((inside <= 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    sure = ((inside > 0.5) & (away > 2.5 * step)).astype(np.float32)
    reach = (0, 0), 6 * step
    own = cv2.GaussianBlur(distance * sure, *reach) / np.maximum(cv2.GaussianBlur(sure, *reach), 1e-3)
    by_colour = np.clip((distance / np.maximum(own, 1) - 0.12) / 0.76, 0, 1)
    # Only where the object's colour there is far enough from the background's to tell.
    return np.where((away < 2.5 * step) & (own > 25), by_colour, alpha).astype(np.float32)


def _guided(guide: Floats, image: Floats, radius: int, eps: float) -> Floats:
    def mean(values: Floats) -> Floats:
        return cv2.blur(values, (2 * radius + 1, 2 * radius + 1))

    centre, level = mean(guide), mean(image)
    gain = (mean(guide * image) - centre * level) / (mean(guide * guide) - centre * centre + eps)
    return mean(gain) * guide + mean(level - gain * centre)


def bounds(alpha: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right, bottom of what is more than half opaque; right and bottom exclusive.

    Raises:
        InputError: nothing is.
    """
    rows, columns = (np.flatnonzero((alpha > 127).any(axis=axis)) for axis in (1, 0))
    if len(rows) == 0:
        raise InputError(f"nothing in the picture is more than half opaque; {REMEDY}")
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def fit_square(rgba: Pixels, size: int, margin: float = 0.06, height: float | None = None) -> Floats:
    """(size, size, 4) premultiplied colours and alpha in [0, 1]: the object centred, `margin` of the side free around.

    Args:
        height: share of the side that the object's height must take, for pictures that must agree; by default
            the larger of its width and height takes all there is.
    """
    left, top, right, bottom = bounds(rgba[..., 3])
    wide, high = right - left, bottom - top
    scale = size * (1 - 2 * margin) / max(wide, high) if height is None else size * height / high
    straight: Floats = rgba.astype(np.float32) / 255
    straight[..., :3] *= straight[..., 3:]
    if scale < 1:  # an area filter first, as a warp only reads four neighbours
        target = [max(1, round(rgba.shape[axis] * scale)) for axis in (1, 0)]
        ratio = target[0] / rgba.shape[1], target[1] / rgba.shape[0]
        straight = cv2.resize(straight, target, interpolation=cv2.INTER_AREA)
        left, right, top, bottom = left * ratio[0], right * ratio[0], top * ratio[1], bottom * ratio[1]
        scale = 1.0
    shift = [size / 2 - scale * (left + right) / 2, size / 2 - scale * (top + bottom) / 2]
    # OpenCV's pixel centres lie on integers, ours half a pixel further.
    matrix = np.array([[scale, 0, shift[0] + 0.5 * scale - 0.5], [0, scale, shift[1] + 0.5 * scale - 0.5]])
    canvas = cv2.warpAffine(straight, matrix, (size, size), flags=cv2.INTER_CUBIC if scale > 1 else cv2.INTER_LINEAR)
    return np.clip(canvas, 0, 1)
