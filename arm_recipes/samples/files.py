"""Files of calibration data: which of a folder are used, and what is in one. Reading never runs code.

Tensors come out mapped to the file where its format allows (.npy, .pt, .pth, .safetensors), so that opening one costs
no memory for its values.
"""

from __future__ import annotations

import hashlib
import heapq
import os
import pickle
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arm_recipes.errors import CalibrationError, ToolError, nearest, spell

from .images import IMAGES, ImageForm, is_image, read_image
from .inputs import counted, described, from_array

# So many unsupported files are named; of the rest only the number is kept.
_NAMED = 5


@dataclass(frozen=True)
class Files:
    """The files that are used.

    Attributes:
        description: the source in words, for messages and records.
        paths: the files in the order of their names.
        keys: what seeds the choice within a file: its path within the folder, which is the same on every machine.
        supported: number of supported files, used or not.
        unsupported: number of files of other kinds.
        unsupported_names: names of the first of those.
    """

    description: str
    paths: tuple[Path, ...]
    keys: tuple[str, ...]
    supported: int
    unsupported: int = 0
    unsupported_names: tuple[str, ...] = ()

    @property
    def image(self) -> Path | None:
        """The first image among them."""
        return next((path for path in self.paths if is_image(path)), None)

    def folder_indices(self) -> list[int]:
        """See `CalibrationData.folder_indices`."""
        alone = next((path for path, key in zip(self.paths, self.keys, strict=True) if "/" not in key), None)
        if alone is not None:
            raise CalibrationError(
                f"labels='folders': {alone} lies in no folder of its class. Give a folder with one folder per class, "
                "and all files in those."
            )
        root = self.paths[0].parents[self.keys[0].count("/")]
        # Of all classes, also those of which no file is used.
        folders = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
        return [folders.index(key.partition("/")[0]) for key in self.keys]


def is_mapped(path: Path) -> bool:
    """Whether tensors of such a file are mapped to it, so that they count as memory once they were looked at."""
    return path.suffix.lower() in (".npy", ".pt", ".pth", ".safetensors")


def find_files(given: str, max_samples: int, seed: int) -> Files:
    """Find the files of a path, which is a file or a folder. None is opened.

    Of a folder with more files than `max_samples`, those are used whose names have the least seeded hashes: a
    uniform choice that is the same on every machine, and for which not even the names need to be kept.

    Raises:
        CalibrationError: there are none, or the folder holds what can't be trusted or reached.
    """
    try:
        root = Path(given).expanduser()
        is_file, is_folder = root.is_file(), root.is_dir()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no such user's home
        raise CalibrationError(
            f"{given}: it can't be reached ({getattr(error, 'strerror', None) or error}). Give the path of a file or a "
            "folder of data."
        ) from error
    if is_file:
        if root.suffix.lower() not in READERS:
            raise CalibrationError(
                f"{given}: files of kind {root.suffix or 'no suffix'!r} are not supported. {_SUPPORTED}"
            )
        return Files(f"file {given}", (root,), (root.name,), 1)
    if not is_folder:
        raise CalibrationError(_missing(given, root))

    supported = 0
    others = 0
    first_others: list[str] = []

    def supported_names() -> Iterator[str]:
        nonlocal supported, others, first_others
        for name in _walk(root):
            if Path(name).suffix.lower() in READERS:
                supported += 1
                yield name
            else:
                others += 1
                first_others = heapq.nsmallest(_NAMED, [*first_others, name])

    def draw(name: str) -> bytes:
        return hashlib.sha256(f"{seed}:".encode() + os.fsencode(name)).digest()

    names = sorted(heapq.nsmallest(max_samples, supported_names(), key=draw))
    if not names:
        what = (
            f"holds {counted(others, 'file')}, of unsupported kinds ({', '.join(first_others)})"
            if others
            else "is empty"
        )
        raise CalibrationError(f"{given}: the folder {what}, so there are no samples. {_SUPPORTED}")
    description = (
        f"folder {given} ({counted(supported, 'file')})"
        if len(names) == supported
        else (f"folder {given} ({len(names)} of {supported} files, seed {seed})")
    )
    paths = tuple(root / name for name in names)
    return Files(description, paths, tuple(names), supported, others, tuple(first_others))


def _missing(given: str, root: Path) -> str:
    if root.is_symlink():
        return f"{given}: it is a symbolic link to {root.readlink()}, which is not there. Give a file or a folder."
    if root.exists():
        return f"{given}: it is neither a file nor a folder. Give one of those."
    try:
        near = nearest(root.name, (path.name for path in root.parent.iterdir()))
    except OSError:
        near = None
    hint = f"Did you mean {str(root.with_name(near))!r}? " if near else ""
    return f"{given}: no such file or folder. {hint}Give the path of a file or a folder of data."


def _walk(root: Path) -> Iterator[str]:
    """Paths below `root`, with forward slashes, of the files that are not hidden, in no order."""
    real_root = os.path.realpath(root)
    pending = [""]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(root / folder) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    name = f"{folder}{entry.name}"
                    if entry.is_symlink():
                        _refuse_leaving(root / name, real_root)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(f"{name}/")
                    elif entry.is_file():
                        yield name
                    elif not entry.is_dir():  # a link to a folder within: its files are found there
                        kind = "a symbolic link to nothing" if entry.is_symlink() else "no ordinary file"
                        raise CalibrationError(
                            f"{root / name}: it can't be read, as it is {kind}. Take it out of the folder."
                        )
        except OSError as error:
            raise CalibrationError(
                f"{root / folder}: the folder can't be searched ({error.strerror}). Make it readable, or take it out."
            ) from error


def _refuse_leaving(link: Path, real_root: str) -> None:
    target = os.path.realpath(link)
    if os.path.commonpath([real_root, target]) != real_root:
        raise CalibrationError(
            f"{link}: it is a symbolic link that leaves the folder, to {target}. Only what lies in the folder itself "
            "is used: copy that in, or give the folder that holds both."
        )


def read(path: Path, image: ImageForm | None, *, peek: bool = False) -> Sequence[Any]:
    """Read a file.

    Args:
        path: of a supported kind.
        image: what an image becomes.
        peek: whether shapes and dtypes are enough: values may then be missing (meta tensors).

    Returns:
        The samples that it lists, or all that it holds as the only one.

    Raises:
        CalibrationError: it can't be read, is damaged, or holds something other than tensors.
    """
    kind, reader = READERS[path.suffix.lower()]
    try:
        path.open("rb").close()
    except OSError as error:
        raise CalibrationError(
            f"{path}: it can't be opened ({error.strerror}). Make it readable, or take it out."
        ) from error
    try:
        content = reader(path, image, peek)
    except (CalibrationError, ToolError):
        raise
    except pickle.UnpicklingError as error:
        # Not quoted and not chained: torch's own text advises to load it all the same.
        named = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise CalibrationError(
            f"{path}: it holds something other than tensors{f' ({named[1]})' if named else ''}, or is damaged. It "
            "was not loaded, as loading it could run code. Save tensors alone: torch.save(tensor, path)."
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # the parsers of so many formats raise whatever damage leads them to
        if re.search("pickle|Python objects", str(error)):
            raise CalibrationError(
                f"{path}: it holds something other than numbers, or is damaged. It was not loaded, as loading it "
                "could run code. Save arrays of numbers alone."
            ) from None
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CalibrationError(
            f"{path}: it can't be read as {kind} ({reason}). It is truncated, damaged or of another kind: write it "
            "again, or take it out."
        ) from error
    if isinstance(content, list) and content and all(isinstance(item, (list, tuple, Mapping)) for item in content):
        return content
    return [content]


def _read_torch(path: Path, image: ImageForm | None, peek: bool) -> object:
    if _is_torchscript(path):
        raise CalibrationError(
            f"{path}: it is a TorchScript program, not tensors. Save tensors alone: torch.save(tensor, path)."
        )
    # Only the zip format of torch >= 1.6 can be mapped.
    content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    if not isinstance(content, (torch.Tensor, list, tuple, Mapping)):
        raise CalibrationError(
            f"{path}: it holds {described(content)}. Allowed: a tensor, a tuple of tensors (the inputs of a "
            "sample), a dict of tensors by input name, or a list of such tuples or dicts."
        )
    return content


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _read_npy(path: Path, image: ImageForm | None, peek: bool) -> object:
    array = np.load(path, mmap_mode="c", allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is an .npz archive")
    return _contiguous(from_array(array, str(path)))


def _read_npz(path: Path, image: ImageForm | None, peek: bool) -> object:
    with np.load(path, allow_pickle=False) as archive:
        if isinstance(archive, np.ndarray):
            raise ValueError("it is an .npy file")
        if peek:
            arrays = {name: _npz_header(archive, name, path) for name in archive.files}
        else:
            arrays = {name: _contiguous(from_array(archive[name], f"{path}: {name}")) for name in archive.files}
    # The names that np.savez gives to arrays without one.
    in_order = [f"arr_{index}" for index in range(len(arrays))]
    return tuple(arrays[name] for name in in_order) if arrays.keys() == set(in_order) else arrays


def _npz_header(archive: Any, name: str, path: Path) -> torch.Tensor:
    """Shape and dtype of an array, without unpacking it."""
    with archive.zip.open(f"{name}.npy") as file:
        formats: Any = np.lib.format  # it has no types
        version = formats.read_magic(file)
        readers = {(1, 0): formats.read_array_header_1_0, (2, 0): formats.read_array_header_2_0}
        if version in readers:
            shape, _, dtype = readers[version](file)
            if not dtype.hasobject:
                example = from_array(np.empty(0, dtype), f"{path}: {name}")
                return torch.empty(shape, dtype=example.dtype, device="meta")
    return from_array(archive[name], f"{path}: {name}")


def _contiguous(tensor: torch.Tensor) -> torch.Tensor:
    """NumPy keeps Fortran's order, in which a model's `view` would fail."""
    return tensor.contiguous()


def _read_safetensors(path: Path, image: ImageForm | None, peek: bool) -> object:
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ToolError(
            f"{path}: .safetensors files need the package safetensors, which can't be imported here ({error}). Install "
            "it with: pip install safetensors"
        ) from error
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)


Reader = Callable[[Path, ImageForm | None, bool], object]
# Suffix -> what errors call the kind, and its reader.
READERS: dict[str, tuple[str, Reader]] = {
    ".pt": ("a file of torch.save", _read_torch),
    ".pth": ("a file of torch.save", _read_torch),
    ".npy": ("a NumPy array", _read_npy),
    ".npz": ("an archive of NumPy arrays", _read_npz),
    ".safetensors": ("safetensors", _read_safetensors),
    **{suffix: (f"a {format} image", read_image) for suffix, format in IMAGES.items()},
}
# Those of tensors, which need no form.
TENSOR_SUFFIXES = tuple(suffix for suffix in READERS if suffix not in IMAGES)
_SUPPORTED = f"Supported: {spell(READERS)}."
