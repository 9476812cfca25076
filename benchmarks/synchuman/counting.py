"""Memory and work of what runs on torch's meta device, where tensors have shapes and no numbers."""

import weakref
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.flop_counter import flop_registry, sdpa_flop_count

_aten = torch.ops.aten
_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd


class Live(TorchDispatchMode):
    """Bytes of the storages that were made inside and are still referred to.

    An operation's inputs are alive while its result is made. What a kernel needs within itself is not seen.

    Where an answer depends on numbers that are not there, it is yes: all are finite, every voxel is occupied. Where
    tensors on the CPU meet such without numbers, as indices do, they count as if they were on the same device.

    Attributes:
        devices: whose storages count; may be changed between operations.
        live, peak: bytes now and at most.
        flops: of matrix products, convolutions and attention.
    """

    def __init__(self, devices: Collection[str] = ("meta", "cpu")) -> None:
        super().__init__()
        self.devices = devices
        self.live = self.peak = self.flops = 0
        self._alive: dict[int, tuple[int, tuple[Any, ...]]] = {}
        self._at_peak: list[tuple[int, tuple[Any, ...]]] = []

    def restart(self) -> None:
        """The peak is counted anew; what is alive stays."""
        self.peak, self._at_peak = self.live, list(self._alive.values())

    @property
    def largest(self) -> Counter[str]:
        """Operation, shape and type → bytes of what was alive at the peak."""
        found: Counter[str] = Counter()
        for size, (func, shape, dtype) in self._at_peak:
            found[f"{func} {tuple(shape)} {str(dtype).removeprefix('torch.')}"] += size
        return found

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), _COMPOSITE):
            with self:  # without gradients, what is made of other operations comes here whole
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        result = _without_numbers(func, args, kwargs) if any(t.is_meta for t in given) else func(*args, **kwargs)
        if func.overloadpacket in flop_registry:
            self.flops += flop_registry[func.overloadpacket](*args, **kwargs, out_val=result)
        known = {_key(tensor) for tensor in given}
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and leaf.device.type in self.devices and _key(leaf) not in known:
                self._add(leaf, func)
        return result

    def _add(self, tensor: Tensor, func: Any) -> None:
        storage, key = tensor.untyped_storage(), _key(tensor)
        if key in self._alive:
            return
        self._alive[key] = (storage.nbytes(), (func, tensor.shape, tensor.dtype))
        weakref.finalize(storage, self._gone, key)
        self.live += storage.nbytes()
        if self.live > self.peak:
            self.restart()

    def _gone(self, key: int) -> None:
        self.live -= self._alive.pop(key)[0]


class _FusedAttention(TorchFunctionMode):
    """Attention as a fused kernel has it: nothing but its result. On the meta device torch would spell it out."""

    def __init__(self, live: Live) -> None:
        super().__init__()
        self._live = live

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is scaled_dot_product_attention:
            q, k, v = (*args, *(kwargs[name] for name in ("query", "key", "value")[len(args) :]))[:3]
            if q.is_meta:
                self._live.flops += sdpa_flop_count(q.shape, k.shape, v.shape)
                return torch.empty_like(q)
        return func(*args, **kwargs)


@contextmanager
def counting(live: Live) -> Iterator[Live]:
    """What runs inside is counted."""
    with _FusedAttention(live), live:
        yield live


def _without_numbers(func: Any, args: Any, kwargs: Any) -> Any:
    """What the operation gives on the meta device."""
    packet, first = func.overloadpacket, args[0]
    if packet is _aten._local_scalar_dense:
        return True
    if packet is _aten.nonzero:
        return torch.empty(first.numel(), first.ndim, dtype=torch.int64, device="meta")
    if packet is _aten._to_copy and first.is_meta and torch.device(kwargs.get("device") or "meta").type == "cpu":
        return torch.zeros(first.shape, dtype=kwargs.get("dtype") or first.dtype)
    if packet in (_aten.index, _aten.index_put, _aten.index_put_):
        args = (first, [part for index in args[1] for part in _places(index)], *args[2:])
    moved_args, moved_kwargs = tree_map(_moved, (args, kwargs))
    result = func(*moved_args, **moved_kwargs)
    is_changed = isinstance(result, Tensor) and isinstance(first, Tensor) and not first.is_meta and _in_place(func)
    return first if is_changed else result


def _places(index: Any) -> tuple[Any, ...]:
    """How many a mask chooses can only be told where its numbers are."""
    is_mask = isinstance(index, Tensor) and index.dtype == torch.bool and not index.is_meta
    return index.nonzero(as_tuple=True) if is_mask else (index,)


def _moved(leaf: Any) -> Any:
    return leaf.to("meta") if isinstance(leaf, Tensor) and not leaf.is_meta else leaf


def _in_place(func: Any) -> bool:
    alias = func._schema.arguments[0].alias_info
    return alias is not None and bool(alias.is_write)


def _key(tensor: Tensor) -> int:
    return int(tensor.untyped_storage()._cdata)
