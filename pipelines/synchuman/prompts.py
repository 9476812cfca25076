"""The ten fixed sentences that the views are made with, as the text encoder reads them.

Letters: L = 77 tokens, C channels of the text encoder. Rows: normals then colours, each front, right, back, left, face.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

from networks.weights import WeightsMismatch

LENGTH = 77
# "a rendering image of 3D human, {view} view, {kind} map." in the vocabulary of CLIP, with its first and last token.
_BEFORE = (49406, 320, 21339, 2867, 539, 274, 323, 2751, 267)
_VIEWS = {"front": 2184, "right": 1155, "back": 893, "left": 1823, "face": 1710}
_BETWEEN = (1093, 267)
_KINDS = {"normal": 5967, "color": 3140}
_AFTER = (3923, 269, 49407)
_PADDING = 0  # as the text encoder of Stable Diffusion 2.1 has it; CLIP's own repeats the last token
# The same, worked out by the authors, for seven views of which five are used.
_FILES = ("normal_embeds.pt", "clr_embeds.pt")
_SELECTED = [0, 2, 3, 4, 6]


def token_ids() -> Tensor:
    """(10, L) of the sentences."""
    sentences = [(*_BEFORE, view, *_BETWEEN, kind, *_AFTER) for kind in _KINDS.values() for view in _VIEWS.values()]
    return torch.tensor([[*one, *[_PADDING] * (LENGTH - len(one))] for one in sentences])


def prompt_embeddings(text_encoder: nn.Module) -> Tensor:
    """(10, L, C) last hidden states of a transformers CLIPTextModel."""
    ids = token_ids().to(next(text_encoder.parameters()).device)
    with torch.inference_mode():
        return text_encoder(input_ids=ids).last_hidden_state.clone()


def stored_embeddings(folder: Path) -> Tensor | None:
    """(10, L, C) float32 of the authors' own files; None where they do not lie there.

    Raises:
        WeightsMismatch: a file is something else, or is damaged.
    """
    paths = [folder / name for name in _FILES]
    if not all(path.is_file() for path in paths):
        return None
    return torch.cat([_read(path)[_SELECTED] for path in paths]).float()


def _read(path: Path) -> Tensor:
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch and pickle raise a dozen kinds for a damaged file, with advice that is not ours
        raise WeightsMismatch(
            f"{path} cannot be read ({type(error).__name__}); fetch it again, or remove it"
        ) from error
    if not isinstance(stored, Tensor) or stored.ndim != 3 or stored.shape[:2] != (7, LENGTH):
        told = tuple(stored.shape) if isinstance(stored, Tensor) else type(stored).__name__
        raise WeightsMismatch(f"{path} holds {told}, not (7, {LENGTH}, C); fetch it again, or remove it")
    return stored
