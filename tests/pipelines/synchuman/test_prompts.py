"""The fixed sentences, their order, and the authors' own embeddings of them where they lie there."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from networks.weights import WeightsMismatch
from pipelines.synchuman.prompts import guided_rows, prompt_embeddings, stored_embeddings, token_ids

WORDS = {2184: "front", 1155: "right", 893: "back", 1823: "left", 1710: "face", 5967: "normal", 3140: "color"}
WORDS |= {320: "a", 21339: "rendering", 2867: "image", 539: "of", 274: "d", 323: "human", 2751: ",", 267: ","}


def test_ten_sentences_of_77_tokens() -> None:
    ids = token_ids()
    assert ids.shape == (10, 77) and ids.dtype == torch.int64
    assert len(ids.unique(dim=0)) == 10
    assert (ids[:, 0] == 49406).all() and (ids[:, 15] == 49407).all() and (ids[:, 16:] == 0).all()
    views = [WORDS[int(token)] for token in ids[:, 9]]
    assert views == ["front", "right", "back", "left", "face"] * 2
    assert [WORDS[int(token)] for token in ids[:, 12]] == ["normal"] * 5 + ["color"] * 5
    varying = [9, 12]
    assert [column for column in range(77) if len(ids[:, column].unique()) > 1] == varying


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


def test_both_halves_of_each_kind_are_told_the_same() -> None:
    embeddings = torch.arange(10.0)[:, None, None].expand(10, 77, 4)
    rows = guided_rows(embeddings)[:, 0, 0]
    assert rows.tolist() == [*range(5), *range(5), *range(5, 10), *range(5, 10)]


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
