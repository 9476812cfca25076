"""The fixed sentences, their order, and the authors' own embeddings of them where they lie there."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from networks.weights import WeightsMismatch
from pipelines.synchuman.prompts import prompt_embeddings, stored_embeddings, token_ids

# Of CLIP's vocabulary, where single characters follow one another as in ASCII.
WORDS = {256 + ord(character) - ord("!"): character for character in "a3d,."}
WORDS |= {21339: "rendering", 2867: "image", 539: "of", 2751: "human", 1093: "view", 3923: "map"}
WORDS |= {2184: "front", 1155: "right", 893: "back", 1823: "left", 1710: "face", 5967: "normal", 3140: "color"}
WORDS |= {49406: "<start>", 49407: "<end>", 0: ""}


def test_ten_sentences_of_77_tokens() -> None:
    ids = token_ids()
    assert ids.shape == (10, 77) and ids.dtype == torch.int64
    assert [" ".join(WORDS[token] for token in one).rstrip() for one in ids.tolist()] == [
        f"<start> a rendering image of 3 d human , {view} view , {kind} map . <end>"
        for kind in ("normal", "color")
        for view in ("front", "right", "back", "left", "face")
    ]


class Echo(nn.Module):
    """Says what it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(last_hidden_state=input_ids[..., None] * self.scale)


def test_the_last_hidden_state_counts() -> None:
    embeddings = prompt_embeddings(Echo())
    assert torch.equal(embeddings, token_ids()[..., None] * 2.0) and not embeddings.requires_grad


def test_the_authors_own_are_used_where_both_are(tmp_path: Path) -> None:
    seven = torch.arange(7.0)[:, None, None].expand(7, 77, 4).half()
    torch.save(seven, tmp_path / "normal_embeds.pt")
    assert stored_embeddings(tmp_path) is None
    torch.save(seven + 10, tmp_path / "clr_embeds.pt")
    stored = stored_embeddings(tmp_path)
    assert stored is not None and stored.dtype == torch.float32
    assert stored[:, 3, 1].tolist() == [0, 2, 3, 4, 6, 10, 12, 13, 14, 16]


@pytest.mark.parametrize("stored", [torch.zeros(6, 77, 4), torch.zeros(7, 77), {"a": torch.zeros(7, 77, 4)}, None])
def test_something_else_is_refused(tmp_path: Path, stored: object) -> None:
    torch.save(torch.zeros(7, 77, 4), tmp_path / "normal_embeds.pt")
    torch.save(stored, tmp_path / "clr_embeds.pt")
    if stored is None:
        (tmp_path / "clr_embeds.pt").write_bytes(b"PK no such thing")
    with pytest.raises(WeightsMismatch, match=r"clr_embeds.pt .*fetch it again, or remove it"):
        stored_embeddings(tmp_path)
