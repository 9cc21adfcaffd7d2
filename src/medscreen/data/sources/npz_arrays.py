"""Arrays in .npz archives of unknown origin: nothing is unpickled, and the use of memory is limited."""

import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

# Deflate reaches 1,032, images far less. The limit does not apply to small arrays.
_MOST_EXPANSION = 200
_HARMLESS_BYTES = 1 << 28


class ArchivedArray:
    """An array of an open archive, with the `shape` and `dtype` of its header.

    Raises ValueError for an object array and for a header that does not fit the file; KeyError if it is missing.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        member = archive.getinfo(f"{name}.npy")
        with archive.open(member) as file:
            if (version := npy.read_magic(file)) != (1, 0):  # others are for structured arrays
                raise ValueError(f"{name}: unsupported .npy version {version}; supported: (1, 0)")
            self.shape, fortran_order, self.dtype = npy.read_array_header_1_0(file)
            start = file.tell()
        if min(self.shape, default=0) < 0:
            raise ValueError(f"{name}: its header has the shape {self.shape}")
        if self.dtype.hasobject:
            raise ValueError(f"{name}: pickled objects are not opened")
        if fortran_order and len(self.shape) > 1:
            raise ValueError(f"{name}: stored in Fortran order, save it with np.ascontiguousarray")
        size = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if size != member.file_size - start:
            raise ValueError(f"{name}: its header states {size} bytes, the file has {member.file_size - start}")
        if size > max(_HARMLESS_BYTES, _MOST_EXPANSION * member.compress_size):
            raise ValueError(f"{name}: {member.compress_size} bytes that unpack to {size} are not images")
        self._archive, self._member, self._start = archive, member, start

    def read(self) -> NDArray[Any]:
        """The whole array; raises ValueError for an archive that ends inside it."""
        with self._archive.open(self._member) as file:
            array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
            file.read(1)  # the checksum is compared at the end of the file
        return array

    def read_grey(self) -> NDArray[np.uint8]:
        """8-bit images (N, H, W) or (N, H, W, 3) as gray (N, H, W); color is converted to luminance."""
        if len(self.shape) == 3:
            return self.read()
        grey = np.empty(self.shape[:3], np.uint8)
        with self._archive.open(self._member) as file:
            file.seek(self._start)
            for image in grey:  # one at a time: all color images together need three times the memory
                one = np.frombuffer(file.read(3 * image.size), np.uint8).reshape(*image.shape, 3)
                image[:] = np.asarray(Image.fromarray(one).convert("L"))
            file.read(1)
        return grey
