"""Images of calibration data: what the model makes of them, and how they become that."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch

from arm_recipes.errors import CalibrationError, ToolError

from .inputs import InputSpec, dtype_text, shape_text

# Suffix -> Pillow's name of the format. Files are taken for one of these only, as Pillow knows formats that call other
# programs; but for which of these, their content says.
IMAGES = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".bmp": "BMP", ".webp": "WEBP", ".ppm": "PPM"}

_MOST_PIXELS = 50_000_000  # 150 MB as RGB, and as much again while it is turned and scaled


@dataclass(frozen=True)
class ImageOptions:
    """How images become tensors. See `load_calibration` for what the options mean.

    Raises:
        CalibrationError: a value is illegal.
    """

    size: int | Sequence[int] | None = None
    mean: float | Sequence[float] | None = None
    std: float | Sequence[float] | None = None
    layout: str = "NCHW"

    def __post_init__(self) -> None:
        if self.layout not in ("NCHW", "NHWC"):
            raise CalibrationError(f"layout={self.layout!r} is not known. Allowed: 'NCHW', 'NHWC'.")
        if self.size is not None:
            sizes = _sequence(self.size)
            if not (sizes and len(sizes) <= 2 and all(type(size) is int and size > 0 for size in sizes)):
                raise CalibrationError(
                    f"size={self.size!r} is no size of an image. Allowed: (height, width) in pixels, or one number "
                    "for both."
                )
        _check_scale("mean", self.mean, lambda value: 0 <= value <= 1, "numbers from 0 to 1")
        _check_scale("std", self.std, lambda value: 0 < value <= 1, "numbers above 0, up to 1")

    @property
    def given(self) -> list[str]:
        """Names of the options that are not at their defaults."""
        names = [name for name in ("size", "mean", "std") if getattr(self, name) is not None]
        return names if self.layout == "NCHW" else [*names, "layout"]


def _check_scale(name: str, given: object, legal: Callable[[float], bool], allowed: str) -> None:
    if given is None:
        return
    for value in _sequence(given) or [None]:
        if isinstance(value, bool) or not isinstance(value, Real) or not legal(float(value)):
            raise CalibrationError(
                f"{name}={given!r} does not fit pixels, which are scaled to 0..1 first. Allowed: {allowed}, one per "
                "channel or one for all. Divide values meant for pixels of 0..255 by 255."
            )


def _sequence(value: object) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str) else [value]


@dataclass(frozen=True)
class ImageForm:
    """The tensor that an image has to become, for one model.

    Attributes:
        size: height and width in pixels.
        channels: number of channels, 1 or 3.
        mean: one number per channel, in units of pixels scaled to 0..1.
        std: one number per channel, in units of pixels scaled to 0..1.
        channels_last: whether the channels are the last dimension.
        dtype: a dtype of floats, or uint8 for pixels as they are.
        batched: whether there is a leading dimension of 1.
    """

    size: tuple[int, int]
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels_last: bool
    dtype: torch.dtype
    batched: bool

    @property
    def shape(self) -> tuple[int, ...]:
        shape = (*self.size, self.channels) if self.channels_last else (self.channels, *self.size)
        return (1, *shape) if self.batched else shape

    def __str__(self) -> str:
        values = "pixels 0..255" if self.dtype == torch.uint8 else "pixels / 255"
        if any(self.mean) or set(self.std) != {1.0}:
            values = f"({values} - {_few(self.mean)}) / {_few(self.std)}"
        return f"{shape_text(self.shape)}, {values}"


def _few(values: tuple[float, ...]) -> str:
    return f"{values[0]:g}" if len(set(values)) == 1 else f"({', '.join(f'{value:g}' for value in values)})"


def image_form(options: ImageOptions, specs: Sequence[InputSpec], where: str) -> ImageForm:
    """What images have to become for a model of these inputs.

    Raises:
        CalibrationError: it takes no images, or not such as the options make.
    """
    if len(specs) != 1:
        raise CalibrationError(
            f"{where}: an image is 1 input, and the model takes {len(specs)}. Save each sample with all its inputs, "
            "e.g. as .npz or .safetensors by the inputs' names."
        )
    spec = specs[0]
    form = f"{spec.shape_text}, {dtype_text(spec.dtype)}"
    batched, channels, plane = _dimensions(options.layout, spec.shape, form, where)
    if not (spec.dtype.is_floating_point or spec.dtype == torch.uint8):
        raise CalibrationError(
            f"{where}: images become float or uint8, and the model's input is {form}. Save .npy files."
        )
    size = None if options.size is None else tuple((_sequence(options.size) * 2)[:2])
    if size is None and None in plane:
        raise CalibrationError(
            f"{where}: height and width are open in the model's input ({form}). Give size=(height, width)."
        )
    if size is not None and any(want not in (None, got) for want, got in zip(plane, size, strict=True)):
        raise CalibrationError(
            f"{where}: size={size} makes images of another size than the model's input ({form}). Leave size= out to "
            "get the model's."
        )
    if spec.dtype == torch.uint8 and (options.mean is not None or options.std is not None):
        raise CalibrationError(
            f"{where}: the model takes pixels as they are ({form}): mean and std have no place. Leave them out."
        )
    height, width = size or plane
    return ImageForm(
        size=(int(height or 0), int(width or 0)),
        channels=channels,
        mean=_per_channel("mean", options.mean, channels, 0.0, where),
        std=_per_channel("std", options.std, channels, 1.0, where),
        channels_last=options.layout == "NHWC",
        dtype=spec.dtype,
        batched=batched,
    )


def _dimensions(
    layout: str, shape: tuple[int | None, ...], form: str, where: str
) -> tuple[bool, int, tuple[int | None, int | None]]:
    """Whether there is a batch dimension, the channels, and height and width of a model's input as an image."""
    if len(shape) not in (3, 4):
        raise CalibrationError(
            f"{where}: the model's input ({form}) is no image. Images make 4 dimensions, or 3 without a batch "
            "dimension."
        )
    batched = len(shape) == 4
    if batched and shape[0] not in (1, None):
        raise CalibrationError(
            f"{where}: the model takes batches of {shape[0]} ({form}), and an image makes a batch of 1. Export with "
            "example inputs of batch 1, or save batches as .npy files."
        )
    pixels = shape[1:] if batched else shape
    last = layout == "NHWC"
    channels, height, width = (pixels[2], pixels[0], pixels[1]) if last else pixels
    if channels not in (1, 3):
        other = "NCHW" if last else "NHWC"
        hint = (
            f" Is its layout {other}? Then give layout={other!r}."
            if (pixels[0] if last else pixels[2]) in (1, 3)
            else ""
        )
        raise CalibrationError(
            f"{where}: in layout {layout} the model's input ({form}) has {channels} channels; images have 1 "
            f"(gray) or 3 (RGB).{hint}"
        )
    return batched, channels, (height, width)


def _per_channel(
    name: str, given: float | Sequence[float] | None, channels: int, default: float, where: str
) -> tuple[float, ...]:
    values = [default] if given is None else _sequence(given)
    if len(values) not in (1, channels):
        raise CalibrationError(
            f"{where}: {name}={given!r} has {len(values)} numbers, and the model's images have {channels} channels. "
            f"Give one number, or {channels}."
        )
    return tuple(float(value) for value in (values * channels)[:channels])


def is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGES


def read_image(path: Path, image: ImageForm | None, peek: bool) -> object:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise ToolError(
            f"{path}: images need the package Pillow, which can't be imported here ({error}). Install it with: pip "
            "install pillow"
        ) from error
    assert image is not None, "whoever reads images says what they become"
    with Image.open(path, formats=sorted(set(IMAGES.values()))) as opened:
        if opened.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "La", "RGBa"):
            raise CalibrationError(
                f"{path}: its pixels have more than 8 bits (Pillow's mode {opened.mode!r}), and how they are to be "
                "scaled is not known. Save it with 8 bits, or as the .npy file of what the model takes."
            )
        if opened.width * opened.height > _MOST_PIXELS:
            raise CalibrationError(
                f"{path}: it has {opened.width} x {opened.height} pixels, and images of at most {_MOST_PIXELS:,} are "
                "read, as they are scaled down in memory. Save it smaller."
            )
        if peek:
            return torch.empty(image.shape, dtype=image.dtype, device="meta")
        height, width = image.size
        picture = ImageOps.exif_transpose(opened).convert("L" if image.channels == 1 else "RGB")
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels = torch.from_numpy(np.array(picture, dtype=np.uint8)).reshape(height, width, image.channels)
    if image.dtype != torch.uint8:
        pixels = ((pixels.float() / 255 - torch.tensor(image.mean)) / torch.tensor(image.std)).to(image.dtype)
    if not image.channels_last:
        pixels = pixels.permute(2, 0, 1).contiguous()
    return pixels.unsqueeze(0) if image.batched else pixels
