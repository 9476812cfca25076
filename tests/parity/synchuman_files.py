"""The units of SyncHuman around its networks: pictures, prompts and files."""

import hashlib
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from networks.synchuman.rows import Rows
from pipelines.synchuman.cubes import cubes
from pipelines.synchuman.preparation import SIDE, body_and_face, prepare
from pipelines.synchuman.prompts import token_ids
from pipelines.synchuman.stage1_files import FirstStage, first_stage, read_first_stage
from tests.parity.synchuman_2d import texts_of_rows
from tests.parity.unit import CannotCompare, Check, Unit, cut, thinned

Array = np.ndarray
_RESOLUTION = 64
_RESIZED = ("normal_0.png", "concat.png")  # in which a level may differ; compared by their outputs


def image_preprocess(unit: Unit) -> list[Check]:
    config, prepared = unit.config, prepare(unit.folder / "input.png")
    grid, rows = cut(config["sampling"]), _rows(config["sampling"])
    values: dict[str, Tensor] = {}
    for name, wanted in (("", config), ("_b", config.get("variant_b", {}))):
        pictures = body_and_face(prepared.cutout.rgba, _crop_size(config | wanted))
        for part, picture in zip(("body", "face"), pictures, strict=True):
            planes = torch.from_numpy(picture).permute(2, 0, 1)
            values[part + name] = planes[grid]
            values[f"{part}{name}_mean"] = planes.mean(dim=(1, 2))
            values[f"{part}{name}_rows"] = planes[:, rows]
    off = np.abs(_pixels(unit.folder / "dino_input.png").astype(np.int16) - prepared.square)
    square = float(off.max()) if (off > 0).mean() < 1e-3 else float("inf")  # as much as another Pillow may differ
    return [*unit.checks(1e-5, values), Check("dino_input.png", square, 1)]


def _rows(words: str) -> list[int]:
    """The rows that a configuration writes as "full rows 100, 384, 700"."""
    if (found := re.search(r"rows (\d+(?:, \d+)*)", words)) is None:
        raise CannotCompare(f"{words!r} names no rows")
    return [int(row) for row in found[1].split(", ")]


def _crop_size(config: dict[str, Any]) -> int:
    """The longer side of the person, once it is sure that nothing else differs from what we make."""
    for name, only in (("mv_img_wh", [SIDE, SIDE]), ("mv_bg_color", "white")):
        if config.get(name, only) != only:
            raise CannotCompare(f"{name} is {config[name]}; only {only} is known")
    return int(config.get("mv_crop_size", SIDE))


def one_stage_outputs(unit: Unit) -> list[Check]:
    prepared = prepare(unit.folder / unit.config["input"])
    decoded = _decoded(unit)
    coords = unit.inputs["coords"].numpy()[:, 1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = first_stage(coords, _RESOLUTION, decoded[:5], decoded[6:], prepared.body, prepared.cutout.rgba)
        made.write(folder)
        checks = _same_files(unit, folder)
        values = _published(unit, folder)
        _same_again(made, read_first_stage(folder / "latent.npz", _RESOLUTION))
    resized = {name: values.pop(name) for name in ("normal_0_sub", "concat_sub")}
    return checks + unit.checks(0, values) + unit.checks(1, resized)


def _decoded(unit: Unit) -> Array:
    """(10, S, S, 3) in [0, 1], by the unit's rule."""
    low = unit.inputs["lowres"].numpy().transpose(0, 2, 3, 1)
    factor, cell = SIDE // low.shape[1], unit.config["face_cell"]
    pictures = low.repeat(factor, axis=1).repeat(factor, axis=2)
    face = unit.inputs["face_cells"].numpy().transpose(1, 2, 0)
    pictures[4] = face.repeat(cell, axis=0).repeat(cell, axis=1)[:SIDE, :SIDE]
    return pictures.astype(np.float32) / 255


def _published(unit: Unit, folder: Path) -> dict[str, Tensor]:
    """The outputs as they lie there, thinned as the reference's are."""
    values: dict[str, Tensor] = {}
    for name in ("color_0", "normal_0", "concat"):
        pixels = _pixels(folder / f"{name}.png")
        values[f"{name}_sub"] = thinned(torch.from_numpy(pixels.copy()), unit.outputs[f"{name}_sub"])
    with np.load(folder / "latent.npz") as arrays:
        values["npz_coords"] = torch.from_numpy(arrays["coords"])
    return values


def _same_files(unit: Unit, folder: Path) -> list[Check]:
    """Whether each file is the reference's, as far as its configuration tells."""
    checks = []
    for name, told in unit.config["files"].items():
        path = folder / name
        if name == "voxel.ply":
            header = path.read_text().split("end_header")[0].split("\n")
            checks.append(Check(name, float(header != told["header"]), 0))
        elif "pixels_sha256" in told and name not in _RESIZED:
            with Image.open(path) as image:
                fits = (image.mode, list(image.size)) == (told["mode"], told["size"])
                digest = hashlib.sha256(np.asarray(image).tobytes()).hexdigest()
            checks.append(Check(name, float(not fits or digest != told["pixels_sha256"]), 0))
    return checks


def _same_again(made: FirstStage, back: FirstStage) -> None:
    for name in ("coords", "colour", "normal", "rgba"):
        if not np.array_equal(getattr(made, name), getattr(back, name)):
            raise CannotCompare(f"{name} are others when read again")


def _pixels(path: Path) -> Array:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def prompt_embeds(unit: Unit) -> list[Check]:
    """The order of the texts in the network, and that sentences differ from the token on where ours do."""
    embeddings = unit.outputs["prompt_embeddings"]
    tokens = cut(unit.config["slices"]["prompt_embeddings"])[1]
    rows = Rows(halves=len(unit.outputs["cfg_expanded"]) // len(embeddings), views=len(unit.config["selected"]))
    ids = token_ids()[:, None] == token_ids()[None]  # (10, 10, 77)
    ours = ids.cumprod(dim=2).bool()[..., tokens]
    theirs = (embeddings[:, None] == embeddings[None]).all(dim=3)
    return [
        *unit.checks(0, {"cfg_expanded": texts_of_rows(embeddings, rows)}),
        Check("told apart", float((ours != theirs).sum()), 0),
    ]


def voxel_ply(unit: Unit) -> list[Check]:
    coords = unit.inputs["voxel"][0].nonzero().int().numpy()
    vertices, faces = (torch.from_numpy(array) for array in cubes(coords))
    return unit.checks(0, {"vertices": vertices, "faces": faces})


UNITS: dict[str, Callable[[Unit], list[Check]]] = {
    "image_preprocess": image_preprocess,
    "one_stage_outputs": one_stage_outputs,
    "prompt_embeds": prompt_embeds,
    "voxel_ply": voxel_ply,
}
