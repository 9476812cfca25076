"""The published numbers of the networks: the same layout as beside the weights, one file for each that is published."""

import json
from pathlib import Path

import pytest

from configs.settings import ROOT
from pipelines.weights.catalog import family
from pipelines.weights.construction import construction
from pipelines.weights.local import networks

FOLDER = ROOT / "configs" / "trellis"
CHECKPOINT = family("trellis").repositories[0]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*_fp16.json")), ids=lambda path: path.stem)
def test_a_network_can_be_built_from_its_file(path: Path) -> None:
    args = construction(path).args
    if "num_heads" in args:
        assert args["model_channels"] % args["num_heads"] == 0 and args["num_blocks"] > 0
    assert args["use_fp16"] is True


def test_every_published_network_has_one() -> None:
    published = {Path(file.path).stem for file in CHECKPOINT.files if file.path.endswith(".safetensors")}
    ours = {path.stem for path in FOLDER.glob("*_fp16.json")}
    assert len(published) == 6 and ours - published == {"ss_enc_conv3d_16l8_fp16", "slat_enc_swin8_B_64l8_fp16"}
    assert published <= ours


def test_the_index_names_what_is_published() -> None:
    index = FOLDER / "pipeline.json"
    named = {f"{stem}.safetensors" for stem in networks(index)}
    assert named == {file.path for file in CHECKPOINT.files if file.path.endswith(".safetensors")}
    normalization = json.loads(index.read_text())["args"]["slat_normalization"]
    latent = construction(FOLDER / "slat_flow_img_dit_L_64l8p2_fp16.json").args["in_channels"]
    assert len(normalization["mean"]) == len(normalization["std"]) == latent and min(normalization["std"]) > 0


def test_the_image_encoder_feeds_the_flows() -> None:
    encoder = construction(ROOT / "configs" / "dinov2" / "vitl14_reg4.json").args
    for stem in ("ss_flow_img_dit_L_16l8_fp16", "slat_flow_img_dit_L_64l8p2_fp16"):
        assert construction(FOLDER / f"{stem}.json").args["cond_channels"] == encoder["embed_dim"]
    assert encoder["img_size"] % encoder["patch_size"] == 0
