"""A slow reader of EXT_meshopt_compression streams, written from the extension's Appendix A and from nothing else."""

from itertools import islice

import numpy as np
from numpy.typing import NDArray


def decode_attributes(data: bytes, count: int, stride: int) -> NDArray[np.uint8]:
    """(count, stride) bytes of a stream of mode 0."""
    assert data[0] == 0xA0
    tail = max(stride, 32)
    element = list(data[len(data) - stride :])
    assert not any(data[len(data) - tail : len(data) - stride])
    stream, end = 1, len(data) - tail
    longest = min((8192 // stride) & ~15, 256)
    rows: list[list[int]] = []
    while len(rows) < count:
        elements = min(count - len(rows), longest)
        columns = []
        for k in range(stride):
            deltas, stream = _data_block(data, stream, -(-elements // 16))
            column = []
            for delta in deltas[:elements]:
                element[k] = (element[k] + delta) % 256
                column.append(element[k])
            columns.append(column)
        rows += [list(row) for row in zip(*columns, strict=True)]
    assert stream == end
    return np.array(rows, np.uint8)


def _data_block(data: bytes, place: int, groups: int) -> tuple[list[int], int]:
    header = data[place : place + -(-groups // 4)]
    place += len(header)
    deltas: list[int] = []
    for group in range(groups):
        found, place = decode_group(data, place, header[group // 4] >> (2 * (group % 4)) & 3)
        deltas += found
    return deltas, place


def decode_group(data: bytes, place: int, mode: int) -> tuple[list[int], int]:
    """16 differences, and where the next group begins."""
    if mode == 0:
        return [0] * 16, place
    if mode == 3:
        return [_signed(value) for value in data[place : place + 16]], place + 16
    bits = 2 * mode
    packed = data[place : place + 2 * bits]
    place += len(packed)
    values = []
    for byte in packed:
        for shift in range(8 - bits, -1, -bits):
            value = byte >> shift & (1 << bits) - 1
            if value == (1 << bits) - 1:
                value, place = data[place + len([v for v in values if v >= 256])], place
                value += 256  # marks the ones stored as whole bytes
            values.append(value)
    whole = sum(value >= 256 for value in values)
    return [_signed(value % 256) for value in values], place + whole


def _signed(value: int) -> int:
    return ~(value >> 1) if value & 1 else value >> 1


def decode_triangles(data: bytes, count: int) -> NDArray[np.int64]:
    """(count / 3, 3) corners of a stream of mode 1."""
    assert data[0] == 0xE1
    codes, extra, table = data[1 : 1 + count // 3], iter(data[1 + count // 3 : -16]), data[-16:]
    assert table[14:] == b"\0\0" and not any(15 in (pair >> 4, pair & 15) for pair in table)
    edges: list[tuple[int, int]] = []
    vertices: list[int] = []
    new, last = 0, 0
    result = []

    def free() -> int:
        nonlocal last
        value = shift = 0
        for byte in extra:
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        last += _signed(value)
        return last

    def fresh() -> int:
        nonlocal new
        new += 1
        return new - 1

    def corner(nibble: int) -> int:
        return fresh() if nibble == 0 else free() if nibble == 15 else vertices[-nibble]

    for code in codes:
        place, low = code >> 4, code & 15
        if place < 15:
            a, b = edges[-1 - place]
            if low == 0:
                c = fresh()
            elif low < 13:
                c = vertices[-1 - low]
            elif low == 15:
                c = free()
            else:
                c = last = last - 1 if low == 13 else last + 1
            if low == 0 or low >= 13:
                vertices.append(c)
            edges += [(c, b), (a, c)]
        else:
            if low < 14:
                pair, first = table[low], 0
            else:
                (pair,) = islice(extra, 1)
                first = 0 if low == 14 else 15
                if pair == 0:
                    new = 0
            a, b, c = corner(first), 0, 0
            before = list(vertices)  # all three are looked up before any is added
            b = fresh() if pair >> 4 == 0 else free() if pair >> 4 == 15 else before[-(pair >> 4)]
            c = fresh() if pair & 15 == 0 else free() if pair & 15 == 15 else before[-(pair & 15)]
            vertices += [v for v, nibble in ((a, first), (b, pair >> 4), (c, pair & 15)) if nibble in (0, 15)]
            edges += [(b, a), (c, b), (a, c)]
        edges, vertices = edges[-16:], vertices[-16:]
        result.append((a, b, c))
    assert next(extra, None) is None
    return np.array(result)
