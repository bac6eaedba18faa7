"""Rows of one part of the index that a search may find."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt

from services.indexer.chunks import Ids

Mask = npt.NDArray[np.bool_]


class Rows:
    """Some of a part's rows, in the forms that the legs want. Never changes, so that searches may share it.

    Args:
        mask: bool, shape (rows of the part,): which may be found. Not to be written to afterwards.
    """

    def __init__(self, mask: Mask) -> None:
        self.mask = mask
        self.count = int(np.count_nonzero(mask))
        """How many may be found."""

    @cached_property
    def ids(self) -> Ids:
        """The rows, int64, ascending."""
        return np.flatnonzero(self.mask).astype(np.int64, copy=False)

    @cached_property
    def bits(self) -> npt.NDArray[np.uint8]:
        """The mask as a bitmap for faiss.IDSelectorBitmap: row n is bit n % 8, from the lowest, of byte n / 8."""
        return np.packbits(self.mask, bitorder="little")
