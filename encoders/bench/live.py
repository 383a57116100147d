"""The most tensor memory alive at once during a call, counted storage by storage: the same on every device."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


def peak_live_bytes(call: Callable[[], object]) -> int:
    """Bytes of all storages made during `call` and alive at once, at their most; its result included.

    What a kernel uses inside of itself is not seen. Works on the meta device.
    """
    with _Live() as live:
        result = call()
    del result
    peak: int = live.peak
    return peak


class _Live(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped library
    """Follows every storage that an operation makes until it is freed."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # as above
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401 - torch's operators have no public type
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401
        given = {_key(tensor) for tensor in _tensors((args, kwargs))}
        out = func(*args, **(kwargs or {}))
        for tensor in _tensors(out):
            if _key(tensor) not in given:
                self._follow(tensor)
        self.peak = max(self.peak, self.now)
        return out

    def _follow(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        key, size = _key(tensor), storage.nbytes()
        if key in self._known:
            return

        def freed(_reference: object) -> None:
            self.now -= size
            self._known.pop(key, None)

        self._known[key] = weakref.ref(storage, freed)
        self.now += size


def _tensors(tree: object) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))


def _key(tensor: Tensor) -> int:
    identity: int = tensor.untyped_storage()._cdata  # noqa: SLF001 - it outlives Python's wrappers
    return identity
