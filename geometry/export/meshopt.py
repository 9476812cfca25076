"""EXT_meshopt_compression over KHR_mesh_quantization, in numpy and plain Python.

The streams are those of the extension's Appendix A: mode 0 for attributes, mode 1 for triangles. What is quantised is
all that is lost.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from geometry.export.buffer import ARRAY_BUFFER, BYTE, INDEX_BUFFER, USHORT, Buffer, Packed, gltf_uv, index_type, linear
from geometry.export.triangle_order import ordered
from geometry.mesh import Floats, Ints, Mesh

COMPRESSION, QUANTIZATION = "EXT_meshopt_compression", "KHR_mesh_quantization"
POSITION_STEPS = 2**14 - 1
_GROUP, _LONGEST_TAIL = 16, 32
_NEVER = -1000
# Which pairs of FIFO places get a code of one byte: the table of the reference encoder, from typical meshes.
_PAIRS = bytes.fromhex("0076875667 78a98665896898 0169 0000")
_PAIR_CODES = {pair: code for code, pair in enumerate(_PAIRS[:14])}


def pack_meshopt(buffer: Buffer, mesh: Mesh) -> Packed:
    """The mesh in the order that packs best: positions on 2^14 steps, UV on 2^16, normals and tangents on 2^8."""
    mesh = ordered(mesh)
    writer = _Writer(buffer)
    low, high = mesh.vertices.min(axis=0).astype(np.float64), mesh.vertices.max(axis=0).astype(np.float64)
    step = float((high - low).max() / POSITION_STEPS) or 1.0
    positions = np.round((mesh.vertices - low) / step).astype("<u2")
    attributes = {"POSITION": writer.attribute(positions, "VEC3", USHORT, bounds=True)}
    if mesh.normals is not None:
        attributes["NORMAL"] = writer.attribute(_signed_bytes(mesh.normals), "VEC3", BYTE, normalized=True)
    if mesh.tangents is not None:
        attributes["TANGENT"] = writer.attribute(_signed_bytes(mesh.tangents), "VEC4", BYTE, normalized=True)
    if mesh.uv is not None:
        attributes["TEXCOORD_0"] = writer.attribute(_shares(gltf_uv(mesh.uv)), "VEC2", USHORT, normalized=True)
    if mesh.colours is not None:
        attributes["COLOR_0"] = writer.attribute(_shares(linear(mesh.colours)), "VEC3", USHORT, normalized=True)
    primitive = {"attributes": attributes, "indices": writer.indices(mesh.faces, len(mesh.vertices))}
    node = {"translation": low.tolist(), "scale": [step] * 3}
    return Packed(primitive, node, [COMPRESSION, QUANTIZATION], writer.fallback)


def encode_attributes(elements: NDArray[np.uint8]) -> bytes:
    """Mode 0: (N, stride) bytes, each stored as its difference to the byte one element earlier."""
    count, stride = elements.shape
    deltas = np.diff(elements.astype(np.int16), axis=0, prepend=elements[:1].astype(np.int16)).astype(np.int8)
    zigzag = ((deltas.astype(np.int16) << 1) ^ (deltas >> 7)).astype(np.uint8)
    block = min((8192 // stride) & ~(_GROUP - 1), 256)
    stream = bytearray(b"\xa0")
    for start in range(0, count, block):
        part = zigzag[start : start + block]
        padded = np.zeros((-(-len(part) // _GROUP) * _GROUP, stride), np.uint8)
        padded[: len(part)] = part
        for channel in padded.T.reshape(stride, -1, _GROUP):
            stream += _channel(channel)
    return bytes(stream) + bytes(max(_LONGEST_TAIL - stride, 0)) + elements[0].tobytes()


def _channel(groups: NDArray[np.uint8]) -> bytes:
    """One byte of every element of a block: two header bits a group, then the groups, each in its shortest form."""
    size_2 = 4 + (groups >= 3).sum(axis=1)
    size_4 = 8 + (groups >= 15).sum(axis=1)
    modes = np.argmin(np.stack([np.where(groups.any(axis=1), 99, 0), size_2, size_4, np.full(len(groups), 16)]), axis=0)
    header = np.zeros(-(-len(groups) // 4) * 4, np.uint8)
    header[: len(groups)] = modes
    header = (header.reshape(-1, 4) << np.array([0, 2, 4, 6], np.uint8)).sum(axis=1, dtype=np.uint8)
    by_2 = (np.minimum(groups, 3).reshape(-1, 4, 4) << np.array([6, 4, 2, 0], np.uint8)).sum(axis=2, dtype=np.uint8)
    by_4 = (np.minimum(groups, 15).reshape(-1, 8, 2) << np.array([4, 0], np.uint8)).sum(axis=2, dtype=np.uint8)
    parts = [header.tobytes()]
    for group, mode, packed_2, packed_4 in zip(groups, modes, by_2, by_4, strict=True):
        if mode == 1:
            parts += [packed_2.tobytes(), group[group >= 3].tobytes()]
        elif mode == 2:
            parts += [packed_4.tobytes(), group[group >= 15].tobytes()]
        elif mode == 3:
            parts.append(group.tobytes())
    return b"".join(parts)


def encode_triangles(faces: Ints) -> bytes:
    """Mode 1: (F, 3) corners, best in an order in which each triangle shares an edge with a recent one.

    Triangles come back in this order, their corners perhaps rotated.
    """
    return _TriangleStream(int(faces.max(initial=0)) + 1).encode(faces)


class _TriangleStream:
    """The state that encoder and decoder share: 16 latest edges, 16 latest vertices, next new vertex, last free one.

    A FIFO is a dict from what was pushed to the running number of its latest push; its place is how long ago that was.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self._edges: dict[int, int] = {}
        self._vertices: dict[int, int] = {}
        self._pushed_edges = self._pushed_vertices = 0
        self._next = self._last = 0
        self._data = bytearray()

    def encode(self, faces: Ints) -> bytes:
        codes = bytearray()
        for a, b, c in faces.tolist():
            place, corners = self._find_edge(a, b, c)
            codes.append(self._by_edge(place, *corners) if place < 15 else self._by_corners(a, b, c))
        return b"\xe1" + bytes(codes) + bytes(self._data) + _PAIRS

    def _find_edge(self, a: int, b: int, c: int) -> tuple[int, tuple[int, int, int]]:
        """How long ago the triangle's latest known edge was pushed, and the triangle turned to begin with it."""
        found, count, best, corners = self._edges, self._count, _NEVER, (a, b, c)
        for turned in ((a, b, c), (b, c, a), (c, a, b)):
            pushed = found.get(turned[0] * count + turned[1], _NEVER)
            if pushed > best:
                best, corners = pushed, turned
        return self._pushed_edges - 1 - best, corners

    def _by_edge(self, place: int, a: int, b: int, c: int) -> int:
        third = self._pushed_vertices - 1 - self._vertices.get(c, _NEVER)
        if not 1 <= third < 13:
            third = 0 if c == self._next else 13 if c == self._last - 1 else 14 if c == self._last + 1 else 15
            if third == 0:
                self._next += 1
            elif third == 15:
                self._write_free(c)
            else:
                self._last = c
            self._push_vertex(c)
        self._push_edge(c, b)
        self._push_edge(a, c)
        return place << 4 | third

    def _by_corners(self, a: int, b: int, c: int) -> int:
        # A new vertex comes first: that the first is new is what the short codes take for granted.
        a, b, c = (b, c, a) if b == self._next else (c, a, b) if c == self._next else (a, b, c)
        first = 0 if a == self._next else 15
        self._next += first == 0
        second, third = self._place(b), self._place(c)
        pair = second << 4 | third
        code = _PAIR_CODES.get(pair, -1) if first == 0 else -1
        if code < 0:
            code = 14 if first == 0 else 15
            self._data.append(pair)
        for vertex, place in ((a, first), (b, second), (c, third)):
            if place == 15:
                self._write_free(vertex)
        for vertex, place in ((a, first), (b, second), (c, third)):
            if place in (0, 15):
                self._push_vertex(vertex)
        self._push_edge(b, a)
        self._push_edge(c, b)
        self._push_edge(a, c)
        return 0xF0 | code

    def _place(self, vertex: int) -> int:
        """1 to 14: this many pushes ago; 0: the next new vertex; 15: neither."""
        ago = self._pushed_vertices - self._vertices.get(vertex, _NEVER)
        if ago <= 14:
            return ago
        if vertex == self._next:
            self._next += 1
            return 0
        return 15

    def _write_free(self, vertex: int) -> None:
        """The distance from the last such vertex, zigzag, seven bits a byte."""
        delta, self._last = vertex - self._last, vertex
        value = delta << 1 if delta >= 0 else ~(delta << 1)
        while value > 127:
            self._data.append(value & 127 | 128)
            value >>= 7
        self._data.append(value)

    def _push_edge(self, a: int, b: int) -> None:
        self._edges[a * self._count + b] = self._pushed_edges
        self._pushed_edges += 1

    def _push_vertex(self, vertex: int) -> None:
        self._vertices[vertex] = self._pushed_vertices
        self._pushed_vertices += 1


class _Writer:
    """Puts compressed views into a buffer and counts what they take when they are not."""

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self.fallback = 0

    def attribute(self, array: NDArray[Any], kind: str, component: int, bounds: bool = False, **more: Any) -> int:
        width = -(-array.shape[1] * array.itemsize // 4) * 4
        elements = np.zeros((len(array), width), np.uint8)
        elements[:, : array.shape[1] * array.itemsize] = np.ascontiguousarray(array).view(np.uint8)
        view = self._view(encode_attributes(elements), "ATTRIBUTES", elements.shape, ARRAY_BUFFER, byteStride=width)
        return self._buffer.accessor(array, kind, component, view, bounds, **more)

    def indices(self, faces: Ints, vertices: int) -> int:
        component = index_type(vertices)
        shape = (faces.size, 2 if component == USHORT else 4)
        view = self._view(encode_triangles(faces), "TRIANGLES", shape, INDEX_BUFFER)
        return self._buffer.accessor(faces.ravel(), "SCALAR", component, view)

    def _view(self, data: bytes, mode: str, shape: tuple[int, ...], target: int, **more: Any) -> int:
        count, stride = shape
        entry = {"buffer": 1, "byteOffset": self.fallback, "byteLength": count * stride, "target": target, **more}
        packed = self._buffer.append(data) | {"byteStride": stride, "count": count, "mode": mode}
        self._buffer.views.append(entry | {"extensions": {COMPRESSION: packed}})
        self.fallback += -(-count * stride // 4) * 4
        return len(self._buffer.views) - 1


def _signed_bytes(vectors: Floats) -> NDArray[np.int8]:
    return np.round(vectors * 127).clip(-127, 127).astype(np.int8)


def _shares(values: Floats) -> NDArray[np.uint16]:
    """Numbers from 0 to 1 as shares of 65535."""
    return np.round(values * 65535).clip(0, 65535).astype("<u2")
