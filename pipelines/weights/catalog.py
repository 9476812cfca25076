"""Which files each family of models needs, where they are published, and under which licence."""

from dataclasses import dataclass

from pipelines.weights.errors import UnknownFamily


@dataclass(frozen=True)
class File:
    """One published file.

    Attributes:
        path: below its repository.
        size: bytes.
        sha256: empty where we know none; what the hub says counts then while it is downloaded.
        exact: whether the size is known to the byte, or only about.
    """

    path: str
    size: int
    sha256: str = ""
    exact: bool = True


@dataclass(frozen=True)
class Repository:
    """Files that lie in one folder.

    Attributes:
        id: "<org>/<name>": on the hub, and of the folder.
        licence: its name, or that none is stated.
        revision: the commit that the files are taken from, or a branch.
        page: where its licence stands, or would.
        address: of the folder of files, for what is not on the hub; torch.hub caches those.
        index: the file that names the networks of a checkpoint; what it names counts, whatever else is published.
    """

    id: str
    licence: str
    page: str
    files: tuple[File, ...]
    revision: str = ""
    address: str = ""
    index: str = ""


@dataclass(frozen=True)
class Family:
    """All that one pipeline needs."""

    title: str
    repositories: tuple[Repository, ...]

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(file.size for repository in self.repositories for file in repository.files)


def _network(stem: str, size: int, sha256: str) -> tuple[File, File]:
    """A network's numbers and its weights."""
    return File(f"ckpts/{stem}.json", 1024, exact=False), File(f"ckpts/{stem}.safetensors", size, sha256)


_TRELLIS = Repository(
    id="microsoft/TRELLIS-image-large",
    licence="MIT",
    page="https://huggingface.co/microsoft/TRELLIS-image-large",
    revision="25e0d31ffbebe4b5a97464dd851910efc3002d96",
    index="pipeline.json",
    files=(
        File("pipeline.json", 2048, exact=False),
        *_network(
            "ss_flow_img_dit_L_16l8_fp16",
            1_130_770_840,
            "96dc6bfd4136fd950af564dd16b4ae533c9ba6af8f26c670646b2a9f2789b1db",
        ),
        *_network(
            "ss_dec_conv3d_16l8_fp16",
            147_591_972,
            "1c76d4a40519aa2d711cc263a8404105231ac26db31d946bed48b84fee79009a",
        ),
        *_network(
            "slat_flow_img_dit_L_64l8p2_fp16",
            1_203_755_136,
            "693fb2a58ad497bd222007301eeec49d14d60f8c12d2f2f00c221fa747b4c66c",
        ),
        *_network(
            "slat_dec_gs_swin8_B_64l8gs32_fp16",
            171_450_952,
            "38c84bcef5ce0af1f48b1b5558dabc7575a13346043c41a7e0610f1fa619a161",
        ),
        *_network(
            "slat_dec_rf_swin8_B_64l8r16_fp16",
            171_450_488,
            "737da6578d01948016b7c39786113af0d64a46f7922f6b8b5e698b84643be514",
        ),
        *_network(
            "slat_dec_mesh_swin8_B_64l8m256c_fp16",
            181_903_412,
            "3e87aba94b5786407eb06d0502c1ed0885a0027a3f2b8537bfe15b0a92c01859",
        ),
    ),
)
_DINOV2 = Repository(
    id="facebook/dinov2",
    licence="Apache-2.0",
    page="https://github.com/facebookresearch/dinov2",
    address="https://dl.fbaipublicfiles.com/dinov2/dinov2_vitl14",
    files=(
        File(
            "dinov2_vitl14_reg4_pretrain.pth",
            304_372_736 * 4,
            "36e4deffbaef061a2576705b0c36f93621e2ae20bf6274694821b0b492551b51",
            exact=False,
        ),
    ),
)


def _component(folder: str, parameters: int, stem: str = "model") -> tuple[File, File]:
    """A network's numbers and its weights, in half precision."""
    weights = File(f"ckpts/{folder}/{stem}.safetensors", 2 * parameters, exact=False)
    return File(f"ckpts/{folder}/config.json", 1024, exact=False), weights


# Neither a commit nor sums of it are known here.
_SYNCHUMAN = Repository(
    id="xishushu/SyncHuman",
    licence="not stated",
    page="https://huggingface.co/xishushu/SyncHuman",
    revision="main",
    files=(
        File("ckpts/OneStage/pipeline_config.json", 1024, exact=False),
        File("ckpts/OneStage/feature_extractor/preprocessor_config.json", 1024, exact=False),
        *_component("OneStage/image_encoder", 632_076_800),
        *_component("OneStage/text_encoder", 340_387_840),
        *_component("OneStage/vae", 83_653_863, "diffusion_pytorch_model"),
        *_component("OneStage/SyncHuman_2D3DCrossSpaceDiffusion", 1_703_663_884, "diffusion_pytorch_model"),
        *_component("OneStage/sparse_structure_decoder", 73_671_201),
        File("ckpts/SecondStage/pipeline.json", 2048, exact=False),
        *_component("SecondStage/ckpts/slat_flow", 600_432_520),
        *_component("SecondStage/ckpts/decoder_GS", 452_418_848),
        *_component("SecondStage/ckpts/decoder_Mesh", 457_976_421),
    ),
)
FAMILIES: dict[str, Family] = {
    "trellis": Family("TRELLIS image-large, with its image encoder DINOv2", (_TRELLIS, _DINOV2)),
    "synchuman": Family("SyncHuman, both stages, with the image encoder DINOv2", (_SYNCHUMAN, _DINOV2)),
}


def family(name: str) -> Family:
    """The catalogue's entry.

    Raises:
        UnknownFamily: there is none of this name.
    """
    try:
        return FAMILIES[name]
    except KeyError:
        raise UnknownFamily(f"there are no weights named {name!r}; there is {', '.join(sorted(FAMILIES))}") from None


def command(name: str) -> str:
    """What fetches a family."""
    return f"python -m pipelines.weights get {name}"
