"""How many FLOPs each network needs, from its shapes: a multiplication and an addition are two.

What a sparse convolution needs are its occupied taps, what windows need is attention within them; padding is no need.
Norms, activations and the like are left out: they are bound by memory.
Letters: N rows, M rows of a coarser grid, C channels in, O channels out.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from networks.ops.voxels import TAPS, Voxels, neighbour_child, taps


def linear(rows: int, layer: nn.Linear) -> int:
    """Of (N, C) rows through a linear layer."""
    return 2 * rows * layer.in_features * layer.out_features


def attention(queries: int, keys: int, channels: int) -> int:
    """Scores and means, all heads together."""
    return 4 * queries * keys * channels


def encoder(network: Any) -> int:
    """Of one picture."""
    patches = (network.img_size // network.patch_embed.proj.kernel_size[0]) ** 2
    rows = 1 + network.register_tokens.shape[1] + patches
    total = 2 * patches * network.patch_embed.proj.weight.numel()
    for block in network.blocks:
        layers = (block.attn.qkv, block.attn.proj, block.mlp.fc1, block.mlp.fc2)
        total += sum(linear(rows, layer) for layer in layers) + attention(rows, rows, block.attn.proj.in_features)
    return total


def preparation(network: Any, tokens: int, steps: int) -> int:
    """Of keys and values of one view, and of all modulations of a schedule."""
    embedder = network.t_embedder.mlp
    total = linear(steps, embedder[0]) + linear(steps, embedder[2])
    for block in network.blocks:
        total += linear(tokens, block.cross_attn.to_kv) + linear(steps, block.adaLN_modulation[1])
    return total


def modulated_blocks(network: Any, rows: int, tokens: int) -> int:
    """
    Args:
        tokens: of the condition; 0 for the empty one, whose part is constant.
    """
    total = 0
    for block in network.blocks:
        channels = block.self_attn.to_out.in_features
        cross = block.cross_attn
        own = (block.self_attn.to_qkv, block.self_attn.to_out, block.mlp.mlp[0], block.mlp.mlp[2])
        total += sum(linear(rows, layer) for layer in own) + attention(rows, rows, channels)
        if tokens:
            total += linear(rows, cross.to_q) + linear(rows, cross.to_out) + attention(rows, tokens, channels)
        else:
            total += linear(1, cross.to_out)
    return total


def structure_flow(network: Any, tokens: int) -> int:
    """Of one evaluation, the condition and the modulations at hand."""
    rows = (network.resolution // network.patch_size) ** 3
    return linear(rows, network.input_layer) + modulated_blocks(network, rows, tokens) + linear(rows, network.out_layer)


def structure_decoder(network: Any, side: int) -> int:
    """
    Args:
        side: of the latent; every convolution keeps the grid that it is given.
    """
    cells = side**3
    total = cells * (_kernel(network.input_layer) + sum(_pair(block) for block in network.middle_block))
    for block in network.blocks:
        if hasattr(block, "conv"):
            total += cells * _kernel(block.conv)
            cells *= 8
        else:
            total += cells * _pair(block)
    return total + cells * _kernel(network.out_layer[2])


def latent_flow(network: Any, voxels: Voxels, tokens: int) -> int:
    """Of one evaluation on a single object, the condition and the modulations at hand."""
    fine, coarse = len(voxels), len(voxels.coarse.voxels)
    fine_taps, coarse_taps = occupied(voxels), occupied(voxels.coarse.voxels)
    total = linear(fine, network.input_layer) + linear(fine, network.out_layer)
    grids = ((fine, fine_taps), (coarse, coarse_taps))
    for block, (rows, pairs) in zip(network.input_blocks, grids, strict=True):
        total += sum(pairs) * _tap(block.conv1.conv) + _residual(block, rows, sum(pairs))
    first, second = network.out_blocks
    # Before the copy to the children every tap is a product on all coarse rows.
    total += TAPS * coarse * _tap(first.conv1.conv) + _residual(first, coarse, sum(fine_taps))
    total += sum(fine_taps) * _tap(second.conv1.conv) + _residual(second, fine, sum(fine_taps))
    return total + modulated_blocks(network, coarse, tokens)


def _residual(block: Any, skipped: int, pairs: int) -> int:
    """All of a residual block but its first convolution."""
    skip = block.skip_connection
    own = linear(1, block.emb_layers[1]) + pairs * _tap(block.conv2.conv)
    return own + (linear(skipped, skip) if isinstance(skip, nn.Linear) else 0)


def trunk(network: Any, voxels: Voxels) -> int:
    """Of a latent decoder's transformer."""
    total = linear(len(voxels), network.input_layer)
    for index, block in enumerate(network.blocks):
        layers = (block.attn.to_qkv, block.attn.to_out, block.mlp.mlp[0], block.mlp.mlp[2])
        windows = voxels.windows(network.window_size, network.window_size // 2 * (index % 2)).segments.lengths
        total += sum(linear(len(voxels), layer) for layer in layers) + windowed(windows, network.model_channels)
    return total


def windowed(lengths: Sequence[int], channels: int) -> int:
    """Attention within windows of so many rows."""
    return sum(attention(length, length, channels) for length in lengths)


def latent_decoder(network: Any, voxels: Voxels) -> int:
    """Of the Gaussian and of the radiance field decoder."""
    return trunk(network, voxels) + linear(len(voxels), network.out_layer)


def mesh_decoder(network: Any, voxels: Voxels) -> int:
    """Of trunk, both subdivisions and head; the first convolution of each is folded onto the parents."""
    total, parents = trunk(network, voxels), voxels
    for block in network.upsample:
        first, second = block.out_layers[0].conv, block.out_layers[3].conv
        children = parents.subdivided()
        total += folded(parents) * _tap(first) + sum(occupied(children)) * _tap(second)
        total += 2 * len(parents) * block.skip_connection.conv.weight.numel()
        parents = children
    return total + linear(len(parents), network.out_layer)


def occupied(voxels: Voxels) -> list[int]:
    """For each tap, how many voxels have a neighbour there."""
    return (voxels.neighbours >= 0).sum(dim=1).tolist()


def folded(parents: Voxels) -> int:
    """Products of one row with one matrix, when children that share what they see have their taps added up first."""
    reached = [set[int]() for _ in range(TAPS)]
    for offset in taps().tolist():
        for child in range(8):
            reached[neighbour_child(child, offset)[0]].add(child)
    return sum(len(children) * pairs for children, pairs in zip(reached, occupied(parents), strict=True))


def _tap(kernel: Any) -> int:
    """Of one row and one tap of a sparse convolution."""
    out, *_, channels = kernel.weight.shape
    return 2 * out * channels


def _pair(block: Any) -> int:
    return _kernel(block.conv1) + _kernel(block.conv2)


def _kernel(layer: nn.Conv3d) -> int:
    """Of one voxel of a dense convolution."""
    return 2 * layer.weight.numel()
