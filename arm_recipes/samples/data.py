"""`load_calibration`, and what it makes: samples that are checked as they are gone through, and a record of them."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from arm_recipes.errors import CalibrationError, spell
from arm_recipes.upstream.digests import add_to_digest

from .files import READERS
from .images import ImageOptions, image_form
from .inputs import InputSpec, check_values, counted, cut, fit, named, specs_of
from .sources import FileSource, Piece, Settings, Source, source_of

# A mapped file is let go and mapped anew after so many bytes: pages that were read count as memory in use.
_MAPPED_BYTES = 16 * 2**20


@dataclass(frozen=True, kw_only=True)
class CalibrationRecord:
    """What one pass through calibration data gave.

    Attributes:
        source: where the samples came from, in words.
        samples: number of samples.
        digest: SHA-256 (hexadecimal) over dtype, shape and bytes of every input of every sample, in order.
        complete: whether the pass came to its end.
        files: number of files that are used; None where the source is no path.
        files_found: number of supported files, used or not; None where the source is no path.
        unsupported: number of files that were passed over because of their kind.
        unsupported_names: names of the first of those.
    """

    source: str
    samples: int
    digest: str
    complete: bool
    files: int | None = None
    files_found: int | None = None
    unsupported: int = 0
    unsupported_names: tuple[str, ...] = ()


def load_calibration(
    source: object,
    *,
    example_inputs: object = None,
    input_names: Sequence[str] | None = None,
    max_samples: int = 1000,
    seed: int = 0,
    allow_batch: bool = False,
    size: int | Sequence[int] | None = None,
    mean: float | Sequence[float] | None = None,
    std: float | Sequence[float] | None = None,
    layout: str = "NCHW",
) -> CalibrationData:
    """Make calibration data of `source`. Nothing is read but the names of a folder's files, and the first sample.

    A sample is a tensor or NumPy array (for a model of one input), a tuple or list of them (the inputs in order), or
    a dict (by name). It has to have the example's dtypes, and its shapes, with one exception: along a first dimension
    of 1, or any first dimension of four or more, a multiple of the example's size is that many samples, as in the
    batches of a DataLoader or an array of images. Nothing is cast, cropped or broadcast.

    Of a dict, the values under the names of the model's arguments are used. A model of one input also takes the only
    one of ``pixel_values``, ``input_ids``, ``input_values`` and ``input_features``, or the only value beside
    ``label`` and ``labels``, unless `input_names` says otherwise. Further keys are ignored. A dict from an iterable
    may be a row as Hugging Face data sets give them: without the leading dimension of 1, and of lists of numbers.

    Args:
        source: one of

            - a file: .pt, .pth (a tensor, a tuple of tensors, a dict of them, or a list of such tuples or dicts),
              .npy, .npz (by name, or in order as np.savez writes them), .safetensors (by name), or an image;
            - a folder of such files, searched recursively, in the order of their names; hidden files are skipped,
              links that leave the folder refused;
            - a tensor or array, or a dict of them: one sample, or several along the first dimension;
            - a list or tuple of samples, or anything indexable with a length;
            - any other iterable, e.g. a DataLoader, of which the first `max_samples` are used;
            - an iterator, e.g. a generator. It can be gone through once, so its samples are kept in memory;
            - a function without arguments that gives an iterable, called for every pass;
            - CalibrationData, of which all options stay as they are.
        example_inputs: what the model is called with: a tuple of tensors, or of `InputSpec`. Without them the data
            has to be bound (`CalibrationData.bind`) before it can be gone through.
        input_names: the keys of the model's inputs in dicts and named files, in the order of the model's arguments.
        max_samples: the most samples that are used. Of more files, or items of a list, as many are chosen uniformly,
            and used in their order. Of fewer files or items each may give an equal share of the samples; where it
            holds more, those are chosen uniformly as well.
        seed: of these choices.
        allow_batch: whether the model takes any size of the first dimension: samples then stay as they are.
        size: height and width of images, or one number for both; the model's by default. Images are stretched to it,
            not cropped, with bilinear filtering.
        mean: subtracted from pixels scaled to 0..1, one number or one per channel; default 0.
        std: what the result is divided by, one number or one per channel; default 1. Both only for models that take
            floats.
        layout: of the model's images, "NCHW" or "NHWC".

    Images are turned as their EXIF data says, and become RGB or gray as the model has 3 or 1 channels, without their
    transparency.

    Raises:
        CalibrationError: the source is missing, empty or of an unknown kind, an option is illegal, or the first sample
            does not fit.
        ToolError: a package that reads the files is missing.
    """
    names = _checked_names(input_names)
    settings = Settings(
        max_samples=_checked_integer("max_samples", max_samples, least=1),
        seed=_checked_integer("seed", seed),
        allow_batch=_checked_flag("allow_batch", allow_batch),
        image=ImageOptions(size, mean, std, layout),
        names=names,
    )
    if isinstance(source, CalibrationData):
        changed = settings.not_default()
        if changed:
            raise CalibrationError(
                f"{spell(changed)}: the source is CalibrationData, which has its options already. Give them to the "
                "call of load_calibration that made it."
            )
        if names is not None:
            source = source.renamed(names)
        return source if example_inputs is None else source.bind(specs_of(example_inputs))
    data = CalibrationData(_checked_source(source, settings), settings)
    return data if example_inputs is None else data.bind(specs_of(example_inputs))


def _checked_source(given: object, settings: Settings) -> Source:
    """The source of `given`. Warns of files that are not used; refuses options that have no use for it."""
    source = source_of(given, settings)
    files = source.files if isinstance(source, FileSource) else None
    if settings.image.given and (files is None or files.image is None):
        raise CalibrationError(
            f"{spell(settings.image.given)}: only images have this, and there are none in {source.description}. Leave "
            "it out; tensors are taken as they are."
        )
    if files is not None and files.unsupported:
        more = ", ..." if files.unsupported > len(files.unsupported_names) else ""
        warnings.warn(
            f"{files.description}: {counted(files.unsupported, 'file')} of unsupported kinds not used "
            f"({', '.join(files.unsupported_names)}{more}). Supported: {spell(READERS)}.",
            stacklevel=3,
        )
    return source


class CalibrationData:
    """Samples for calibration: an iterable of tuples of tensors. Made by `load_calibration`.

    Every pass reads and checks the samples anew. Before the first sample of a pass the headers of all files are
    checked, so that a wrong shape in the last file shows before calibration and not after it.

    Iterating raises CalibrationError where a sample can't be used or there is none, or where this data is not bound.
    """

    def __init__(self, source: Source, settings: Settings, specs: tuple[InputSpec, ...] | None = None) -> None:
        self._source = source
        self._settings = settings
        self._specs = specs
        self._length: int | None = None
        self._pass: _Pass | None = None

    @property
    def source(self) -> str:
        """Where the samples come from, in words."""
        image = self._source.files.image if isinstance(self._source, FileSource) else None
        if image is None or self._specs is None:
            return self._source.description
        form = image_form(self._settings.image, self._specs, str(image))
        return f"{self._source.description}, images as {form}"

    @property
    def specs(self) -> tuple[InputSpec, ...] | None:
        """The inputs that samples are checked against; None before they are bound."""
        return self._specs

    @property
    def record(self) -> CalibrationRecord | None:
        """What the latest pass has given so far; None before the first."""
        if self._pass is None:
            return None
        record = CalibrationRecord(
            source=self.source,
            samples=self._pass.samples,
            digest=self._pass.digest.hexdigest(),
            complete=self._pass.complete,
        )
        if not isinstance(self._source, FileSource):
            return record
        files = self._source.files
        return replace(
            record,
            files=len(files.paths),
            files_found=files.supported,
            unsupported=files.unsupported,
            unsupported_names=files.unsupported_names,
        )

    def digest_through(self, index: int, inputs: Sequence[object]) -> hashlib._Hash | None:
        """The digest of the samples up to number `index`, if that is the latest one and `inputs` are its very tensors;
        else None."""
        current = self._pass
        if current is None or current.samples != index + 1 or len(current.latest) != len(inputs):
            return None
        same = all(value is tensor for value, tensor in zip(inputs, current.latest, strict=True))
        return current.digest.copy() if same else None

    def folder_indices(self) -> list[int]:
        """For data in one folder per class, the class of each file that is used: the index of the folder that it lies
        in among the source's folders, in the order of their names.

        Raises:
            CalibrationError: the data is no folder, or a file lies in none of its folders.
        """
        if not isinstance(self._source, FileSource):
            raise CalibrationError(
                f"labels='folders': {self._source.description} is no folder. Give class indices, or a folder with one "
                "folder per class."
            )
        return self._source.files.folder_indices()

    def bind(self, specs: Sequence[InputSpec]) -> CalibrationData:
        """The same data for a model of these inputs. The first sample is checked.

        Iterators are shared with this object, and so read but once.

        Raises:
            CalibrationError: the first sample does not fit, or there is none.
        """
        bound = named(specs_of(tuple(specs)), self._settings.names)
        if self._settings.allow_batch:
            bound = tuple(replace(spec, shape=(None, *spec.shape[1:])) if spec.shape else spec for spec in bound)
        data = CalibrationData(self._source, self._settings, bound)
        data._check_first()
        return data

    def __iter__(self) -> Iterator[tuple[torch.Tensor, ...]]:
        self._bound()
        return self._samples()

    def __len__(self) -> int:
        """The number of samples.

        Raises:
            TypeError: it can't be told before the first pass, as of a DataLoader, or before the data is bound.
        """
        if self._length is None and self._specs is not None:
            self._check_headers()
        if self._length is None:
            raise TypeError(
                f"how many samples there are in {self._source.description} shows only when they are gone through"
            )
        return self._length

    def __bool__(self) -> bool:
        return True  # and not a matter of the length, which may be unknown

    def __repr__(self) -> str:
        specs = "not bound" if self._specs is None else ", ".join(spec.shape_text for spec in self._specs)
        return f"<CalibrationData of {self._source.description}: {specs}>"

    def renamed(self, names: tuple[str, ...]) -> CalibrationData:
        """The same data, of whose dicts the values under these names are used."""
        specs = None if self._specs is None else named(self._specs, names)
        return CalibrationData(self._source, replace(self._settings, names=names), specs)

    def _bound(self) -> tuple[InputSpec, ...]:
        if self._specs is None:
            raise CalibrationError(
                f"{self._source.description}: it is not known what the model takes, so the samples can't be checked. "
                "Give load_calibration(..., example_inputs=...), or call bind(specs_of(example_inputs)) on the data."
            )
        return self._specs

    def _check_first(self) -> None:
        if not self._source.peekable:
            return
        for piece in self._source.pieces(self._bound(), self._settings, peek=True):
            self._fit(piece, piece.load()[0], piece.where)
            break
        else:
            raise self._empty()
        if self._source.in_memory:
            self._check_headers()

    def _check_headers(self) -> None:
        """Check all that shapes and dtypes tell, once, and count the samples, where that needs no pass."""
        if self._length is not None or not self._source.sized:
            return
        length = 0
        for piece in self._source.pieces(self._bound(), self._settings, peek=True):
            items = piece.load()
            for index, where, share in piece.used(len(items), piece.share, self._settings.seed):
                _, count = self._fit(piece, items[index], where)
                length += min(count, share)
        self._length = length

    def _fit(self, piece: Piece, item: object, where: str) -> tuple[tuple[torch.Tensor, ...], int]:
        return fit(item, self._bound(), where, strict_names=self._settings.names is not None, row=piece.row)

    def _samples(self) -> Iterator[tuple[torch.Tensor, ...]]:
        self._check_headers()
        current = self._pass = _Pass()
        for piece in self._source.pieces(self._bound(), self._settings, peek=False):
            for sample in self._of(piece, min(piece.share, self._settings.max_samples - current.samples)):
                current.add(sample)
                yield sample
            if current.samples == self._settings.max_samples:
                break
        if current.samples == 0:
            raise self._empty()
        current.complete = True
        self._length = current.samples

    def _of(self, piece: Piece, most: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """The samples of a piece, `most` at most, each a copy."""
        specs, seed = self._bound(), self._settings.seed
        items = piece.load()
        mapped = 0
        for item, where, share in piece.used(len(items), most, seed):
            tensors, count = self._fit(piece, items[item], where)
            for index in piece.choose(count, share, seed):
                if piece.mapped and mapped > _MAPPED_BYTES:
                    del items, tensors
                    items, mapped = piece.load(), 0
                    tensors, _ = self._fit(piece, items[item], where)
                sample = cut(tensors, specs, index, count)
                check_values(sample, specs, where if count == 1 else f"{where}[{index}]")
                mapped += sum(tensor.nbytes for tensor in sample)
                yield sample

    def _empty(self) -> CalibrationError:
        if self._length:
            return CalibrationError(
                f"{self._source.description}: it gave {counted(self._length, 'sample')} before and gives none now, "
                "so it is exhausted. Give a list, or a function that makes it anew, e.g. lambda: make_loader()."
            )
        return CalibrationError(
            f"{self._source.description}: it gives no sample: it is empty, or was gone through before. A model "
            "calibrated on nothing gives only zeros. Give at least one sample; a generator has to be a fresh one."
        )


class _Pass:
    """What a pass has given so far."""

    def __init__(self) -> None:
        self.samples = 0
        self.digest = hashlib.sha256()
        self.complete = False
        self.latest: tuple[torch.Tensor, ...] = ()

    def add(self, sample: tuple[torch.Tensor, ...]) -> None:
        self.latest = sample
        for tensor in sample:
            add_to_digest(self.digest, tensor)
        self.samples += 1


def _checked_integer(name: str, value: object, least: int | None = None) -> int:
    if isinstance(value, int) and not isinstance(value, bool) and (least is None or value >= least):
        return value
    raise CalibrationError(
        f"{name}={value!r} is not legal. Allowed: a whole number{'' if least is None else f' from {least} up'}."
    )


def _checked_flag(name: str, value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise CalibrationError(f"{name}={value!r} is not legal. Allowed: True, False.")


def _checked_names(names: object) -> tuple[str, ...] | None:
    if names is None:
        return None
    if (
        isinstance(names, (list, tuple))
        and names
        and all(isinstance(name, str) for name in names)
        and len(set(names)) == len(names)
    ):
        return tuple(names)
    raise CalibrationError(
        f"input_names={names!r} is not legal. Allowed: a list of different names, one per input of the model, e.g. "
        "['x', 'mask']."
    )
