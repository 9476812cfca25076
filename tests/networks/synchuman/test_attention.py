"""Who attends to whom, written out in float64 for one sequence at a time; and that it stays small."""

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils._python_dispatch import TorchDispatchMode

from networks.synchuman.attention import (
    CrossDomainAttention,
    RowWiseAttention,
    TextAttention,
    TextCache,
    blend_face,
    in_parts,
)
from networks.synchuman.rows import Rows
from tests.networks.drawing import drawn, normal

CHANNELS, HEADS, SIZE, TEXT = 12, 2, 6, 10
ROWS = Rows(halves=2)
AT_ONCE = [1, 3, 8, 100]


def made(kind: Any, **more: Any) -> Any:
    return drawn(kind(CHANNELS, HEADS, SIZE, **more)).requires_grad_(False)


def pictures(side: int, views: int = 5, halves: int = 2, seed: int = 0) -> Tensor:
    return normal(2, halves, views, side**2, CHANNELS, seed=seed)


def written_out(attention: Any, x: Tensor, context: Tensor | None = None) -> Tensor:
    """(L, C) of one sequence, head by head."""
    context = x if context is None else context
    q, k, v = (
        part.double() @ getattr(attention, name).weight.double().T
        for part, name in ((x, "to_q"), (context, "to_k"), (context, "to_v"))
    )
    heads = [slice(SIZE * head, SIZE * (head + 1)) for head in range(HEADS)]
    mixed = torch.cat([(q[:, h] @ k[:, h].T / SIZE**0.5).softmax(1) @ v[:, h] for h in heads], dim=1)
    return mixed @ attention.to_out[0].weight.double().T + attention.to_out[0].bias.double()


def close(ours: Tensor, theirs: Tensor) -> bool:
    return ours.shape == theirs.shape and float((ours - theirs).abs().max()) < 2e-6 * float(theirs.abs().max())


def test_normals_and_colours_of_a_view_are_one_sequence() -> None:
    attention, x = made(CrossDomainAttention), pictures(3)
    wanted = torch.empty(x.shape, dtype=torch.float64)
    for half in range(2):
        for view in range(5):
            both = written_out(attention, x[:, half, view].reshape(-1, CHANNELS))
            wanted[:, half, view] = both.view(2, 9, CHANNELS)
    assert close(attention.joint(x, ROWS), wanted)


def test_the_face_is_blended_into_the_top_middle_of_the_front_view_and_nowhere_else() -> None:
    attention, side = made(CrossDomainAttention), 6
    x = pictures(side)
    before = attention.joint(x, ROWS).unflatten(3, (side, side))
    after = attention(x, ROWS).unflatten(3, (side, side))
    for domain in range(2):
        for half in range(2):
            face = before[domain, half, 4].permute(2, 0, 1)[None]
            small = interpolate(face, size=(2, 2), mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
            region = 0.5 * before[domain, half, 0, :2, 2:4] + 0.5 * small
            assert torch.allclose(after[domain, half, 0, :2, 2:4], region, atol=1e-6)
    changed = (after != before).any(-1)
    assert changed[:, :, 0, :2, 2:4].all()
    changed[:, :, 0, :2, 2:4] = False
    assert not changed.any()


@pytest.mark.parametrize("side", [4, 8])
def test_a_side_that_3_does_not_divide_has_no_place_for_the_face(side: int) -> None:
    with pytest.raises(ValueError, match=rf"pictures of {side}\^2 tokens; .* 3 divides the side"):
        blend_face(pictures(side), ROWS)


@pytest.mark.parametrize("kind", [CrossDomainAttention, RowWiseAttention])
def test_pictures_that_are_not_square_are_refused(kind: Any) -> None:
    with pytest.raises(ValueError, match="pictures of 18 tokens; they must be square"):
        made(kind)(normal(2, 2, 5, 18, CHANNELS), ROWS)


def test_a_line_of_pixels_in_all_views_of_a_domain_is_one_sequence() -> None:
    attention, side = made(RowWiseAttention), 3
    x = pictures(side, views=4)
    wanted = torch.empty(2, 2, 4, side, side, CHANNELS, dtype=torch.float64)
    lines = x.unflatten(3, (side, side))
    for domain in range(2):
        for half in range(2):
            for y in range(side):
                mixed = written_out(attention, lines[domain, half, :, y].reshape(-1, CHANNELS))
                wanted[domain, half, :, y] = mixed.view(4, side, CHANNELS)
    assert close(attention(x, ROWS), wanted.flatten(3, 4))


def test_a_changed_line_changes_that_line_of_its_domain_and_half_alone() -> None:
    attention, side = made(RowWiseAttention), 4
    x = pictures(side, views=4)
    before = attention(x, ROWS).unflatten(3, (side, side))
    x.unflatten(3, (side, side))[1, 0, 2, 3] += 1
    changed = (attention(x, ROWS).unflatten(3, (side, side)) != before).any(-1)
    assert changed[1, 0, :, 3].all()
    changed[1, 0, :, 3] = False
    assert not changed.any()


def prompt(texts: int, seed: int = 3) -> Tensor:
    return normal(texts, 7, TEXT, seed=seed)


def test_every_picture_reads_the_text_of_its_domain_and_view() -> None:
    attention, x, text = made(TextAttention, context_channels=TEXT), pictures(3), prompt(10)
    ours = attention(x, ROWS, TextCache(text).of(attention))
    for domain in range(2):
        for half in range(2):
            for view in range(5):
                wanted = written_out(attention, x[domain, half, view], text[5 * domain + view])
                assert close(ours[domain, half, view], wanted)


def test_halves_may_have_texts_of_their_own() -> None:
    attention, x, text = made(TextAttention, context_channels=TEXT), pictures(3), prompt(20)
    both = attention(x, ROWS, TextCache(text).of(attention))
    for half in range(2):
        own = ROWS.split(text)[:, half].flatten(0, 1)
        alone = attention(x[:, half : half + 1], Rows(halves=1), TextCache(own).of(attention))
        assert close(both[:, half : half + 1], alone)


def test_keys_and_values_of_a_text_are_made_once_for_each_layer_and_go_with_the_cache() -> None:
    layers = [drawn(TextAttention(CHANNELS, HEADS, SIZE, TEXT), seed).requires_grad_(False) for seed in range(2)]
    made_by = []
    for index, layer in enumerate(layers):
        for projection in (layer.to_k, layer.to_v):
            projection.register_forward_hook(lambda *_, index=index: made_by.append(index))
    cache = TextCache(prompt(10))
    assert made_by == []  # nothing is made before it is asked for
    for _ in range(3):
        for layer in layers:
            assert torch.equal(cache.of(layer)[0].flatten(2), prompt(10) @ layer.to_k.weight.T)
    assert made_by == [0, 0, 1, 1]
    keys = weakref.ref(cache.of(layers[0])[0])
    del cache
    gc.collect()
    assert keys() is None


def test_keys_and_values_are_in_the_precision_of_the_layer() -> None:
    layer = made(TextAttention, context_channels=TEXT).to(torch.bfloat16)
    assert {part.dtype for part in TextCache(prompt(10)).of(layer)} == {torch.bfloat16}


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that any operation made."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple) else [result]:
            if isinstance(tensor, Tensor):
                self.numbers = max(self.numbers, tensor.numel())
        return result


def largest(attention: Any, x: Tensor, rows: Rows) -> int:
    with Largest() as mode, torch.no_grad():
        attention(x, rows)
    return mode.numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_no_matrix_of_tokens_by_tokens_is_ever_made(dtype: torch.dtype) -> None:
    attention, x = made(CrossDomainAttention).to(dtype), pictures(24, views=2, halves=1).to(dtype)
    assert largest(attention, x, Rows(halves=1, views=2)) == x.numel() < (2 * 24**2) ** 2


@pytest.mark.parametrize(("at_once", "parts"), [(None, [20]), (1, [2] * 10), (5, [4] * 5), (12, [12, 8])])
def test_pairs_of_domains_are_worked_on_so_many_rows_at_a_time(at_once: int | None, parts: list[int]) -> None:
    attention, seen = made(CrossDomainAttention), []
    attention.to_q.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[:2].numel() // 9))
    attention(pictures(3), Rows(halves=2, at_once=at_once))
    assert seen == parts


@pytest.mark.parametrize(("at_once", "parts"), [(None, [16]), (1, [4] * 4), (9, [8, 8])])
def test_views_of_the_body_are_worked_on_so_many_rows_at_a_time(at_once: int | None, parts: list[int]) -> None:
    attention, seen = made(RowWiseAttention), []
    attention.to_q.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[:2].numel() // 9))
    attention(pictures(3, views=4), Rows(halves=2, at_once=at_once))
    assert seen == parts


@pytest.mark.parametrize("at_once", AT_ONCE)
@pytest.mark.parametrize("kind", [CrossDomainAttention, RowWiseAttention])
def test_rows_in_parts_give_what_rows_together_give(kind: Any, at_once: int) -> None:
    attention, x = made(kind), pictures(3)
    assert close(attention(x, Rows(halves=2, at_once=at_once)), attention(x, ROWS))


@pytest.mark.parametrize("at_once", AT_ONCE)
def test_rows_in_parts_read_the_same_text(at_once: int) -> None:
    attention, x = made(TextAttention, context_channels=TEXT), pictures(3)
    text = TextCache(prompt(10)).of(attention)
    assert close(attention(x, Rows(halves=2, at_once=at_once), text), attention(x, ROWS, text))


def test_parts_are_as_large_as_asked_for() -> None:
    seen = []
    x = normal(7, 2)

    def run(part: Tensor, other: Tensor) -> Tensor:
        seen.append(len(part))
        return part + other

    assert torch.equal(in_parts(run, 3, x, x), 2 * x) and seen == [3, 3, 1]
    assert torch.equal(in_parts(run, None, x, x), 2 * x) and seen[3:] == [7]


def test_names_are_the_checkpoints() -> None:
    names = {"to_q.weight", "to_k.weight", "to_v.weight", "to_out.0.weight", "to_out.0.bias"}
    for kind in (CrossDomainAttention, RowWiseAttention, TextAttention):
        assert made(kind).state_dict().keys() == names
