"""Arrays inside an .npz archive, from anywhere: nothing is unpickled, no header decides how much memory is taken."""

import zipfile
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from PIL import Image

# Deflate reaches 1,032; images do not come near this, and a small archive may hold what it likes.
_MOST_EXPANSION = 200
_HARMLESS_BYTES = 1 << 28
_BLOCK = 1 << 22


class ArchivedArray:
    """An array of an archive that is open for reading: `shape` and `dtype` are what its header says.

    Raises ValueError for an object array and for a header that does not fit the file; KeyError if there is none.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        member = archive.getinfo(f"{name}.npy")
        with archive.open(member) as file:
            version = npy.read_magic(file)
            read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
            if read_header is None:
                raise ValueError(f"{name}: format {version} is none of a plain array")
            self.shape, fortran_order, self.dtype = read_header(file)
            start = file.tell()
        if min(self.shape, default=0) < 0:
            raise ValueError(f"{name}: its header has the shape {self.shape}")
        if self.dtype.hasobject:
            raise ValueError(f"{name}: pickled objects are not opened")
        if fortran_order and len(self.shape) > 1:
            raise ValueError(f"{name}: stored in Fortran order, save it with np.ascontiguousarray")
        self.bytes = int(np.prod(self.shape, dtype=object)) * self.dtype.itemsize
        if self.bytes != member.file_size - start:
            raise ValueError(f"{name}: its header asks for {self.bytes} bytes, the file has {member.file_size - start}")
        if self.bytes > max(_HARMLESS_BYTES, _MOST_EXPANSION * member.compress_size):
            raise ValueError(f"{name}: {member.compress_size} bytes that unpack to {self.bytes} are no images")
        self._archive, self._member, self._start = archive, member, start

    def read(self) -> NDArray[Any]:
        """The array as it is."""
        array = np.empty(self.shape, self.dtype)
        self._fill_whole(array)
        return array

    def read_grey(self) -> NDArray[np.uint8]:
        """Images (N, H, W) or (N, H, W, 3) of 8 bits as (N, H, W): the luminance of coloured ones."""
        if len(self.shape) == 3:
            grey = np.empty(self.shape, np.uint8)
            self._fill_whole(grey)
            return grey
        grey = np.empty(self.shape[:3], np.uint8)
        one = np.empty(self.shape[1:], np.uint8)
        with self._archive.open(self._member) as file:
            file.seek(self._start)
            for place in grey:  # one after the other: coloured, all of them are three times the memory
                _fill(file, one)
                place[:] = np.asarray(Image.fromarray(one).convert("L"))
            file.read(1)  # at its end the checksum is compared
        return grey

    def _fill_whole(self, array: NDArray[Any]) -> None:
        with self._archive.open(self._member) as file:
            file.seek(self._start)
            _fill(file, array)
            file.read(1)


def _fill(file: IO[bytes], array: NDArray[Any]) -> None:
    target = array.reshape(-1).view(np.uint8)
    at = 0
    while at < len(target):
        block = file.read(min(_BLOCK, len(target) - at))
        if not block:
            raise EOFError("the archive ends inside an array")
        target[at : at + len(block)] = np.frombuffer(block, np.uint8)
        at += len(block)
