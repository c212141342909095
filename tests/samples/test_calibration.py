"""Calibration data: what is taken, what is refused and in which words, and what is read when."""

from __future__ import annotations

import hashlib
import os
import pickle
import random
import subprocess
import sys
from collections import Counter, UserDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from arm_recipes import ArmRecipeError, CalibrationError, ToolError, load_calibration
from arm_recipes.samples import CalibrationData, CalibrationRecord, InputSpec, specs_of
from arm_recipes.samples import files as files_module

X = (torch.zeros(1, 3, 8, 8),)
TWO = (torch.zeros(1, 4), torch.zeros(1, 2, dtype=torch.int64))


def rand(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


def load(source: object, example_inputs: object = X, **options: Any) -> CalibrationData:
    return load_calibration(source, example_inputs=example_inputs, **options)


def refusal(source: object, example_inputs: object = X, **options: Any) -> str:
    """The message with which the data is refused, on loading or on the first pass."""
    with pytest.raises(CalibrationError) as caught:
        list(load(source, example_inputs, **options))
    assert isinstance(caught.value, ArmRecipeError)
    return str(caught.value)


def record(data: CalibrationData) -> CalibrationRecord:
    assert data.record is not None
    return data.record


def digest(data: CalibrationData) -> str:
    """Of a whole pass."""
    list(data)
    assert record(data).complete
    return record(data).digest


def same(samples: Any, tensor: torch.Tensor) -> bool:
    return torch.equal(torch.cat([sample[0] for sample in samples]), tensor)


# Suffix -> how a file of it is written from tensors by name.
Writer = Callable[[Path, dict[str, torch.Tensor]], None]


def _single(tensors: dict[str, torch.Tensor]) -> Any:
    return next(iter(tensors.values())) if len(tensors) == 1 else tensors


WRITERS: dict[str, Writer] = {
    ".pt": lambda path, tensors: torch.save(_single(tensors), path),
    ".pth": lambda path, tensors: torch.save(_single(tensors), path, _use_new_zipfile_serialization=False),
    ".npy": lambda path, tensors: np.save(path, _single(tensors).numpy()),
    ".npz": lambda path, tensors: np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()}),
    ".safetensors": lambda path, tensors: save_file(tensors, path),
}
every_kind = pytest.mark.parametrize("suffix", WRITERS)
every_named_kind = pytest.mark.parametrize("suffix", [suffix for suffix in WRITERS if suffix != ".npy"])


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(suffix: str, **tensors: torch.Tensor) -> Path:
        path = tmp_path / f"sample{suffix}"
        WRITERS[suffix](path, tensors)
        return path

    return write


class TestFiles:
    @every_kind
    def test_sample(self, suffix: str, write: Callable[..., Path]) -> None:
        x = rand(1, 3, 8, 8)
        data = load(write(suffix, x=x))
        assert len(data) == 1
        assert same(data, x)

    @every_kind
    def test_array_of_samples_is_split(self, suffix: str, write: Callable[..., Path]) -> None:
        x = rand(20, 3, 8, 8)
        data = load(write(suffix, x=x))
        assert len(data) == 20
        assert all(sample[0].shape == (1, 3, 8, 8) for sample in data)
        assert same(data, x)

    @every_kind
    def test_uniform_choice_of_an_array(self, suffix: str, write: Callable[..., Path]) -> None:
        x = torch.arange(1000.0).reshape(-1, 1)
        data = load(write(suffix, x=x), torch.zeros(1, 1), max_samples=50)
        chosen = [int(sample[0]) for sample in data]
        assert len(chosen) == len(data) == 50
        assert chosen == sorted(set(chosen))
        assert chosen[-1] > 900

    @every_named_kind
    def test_by_name(self, suffix: str, write: Callable[..., Path]) -> None:
        path = write(suffix, b=TWO[1], a=TWO[0] + 1, label=torch.zeros(1))
        (sample,) = load(path, TWO, input_names=["a", "b"])
        assert torch.equal(sample[0], TWO[0] + 1)
        assert torch.equal(sample[1], TWO[1])

    @every_named_kind
    def test_missing_name(self, suffix: str, write: Callable[..., Path]) -> None:
        message = refusal(write(suffix, a=TWO[0], c=TWO[1]), TWO, input_names=["a", "b"])
        assert "it lacks 'b'" in message
        assert "input_names=[...]" in message

    @every_kind
    def test_wrong_shape(self, suffix: str, write: Callable[..., Path]) -> None:
        path = write(suffix, x=rand(1, 3, 8, 9))
        assert f"{path}: input 0 (x) has shape (1, 3, 8, 9); the model takes (1, 3, 8, 8)." in refusal(
            path, specs_of(X, ["x"])
        )

    @every_kind
    @pytest.mark.parametrize("shape", [(3, 8, 8), (1, 1, 8, 8), (1, 3, 1, 1), (1, 1, 3, 8, 8), (8, 8)])
    def test_nothing_is_broadcast(self, suffix: str, shape: tuple[int, ...], write: Callable[..., Path]) -> None:
        assert "the model takes (1, 3, 8, 8)" in refusal(write(suffix, x=rand(*shape)))

    @every_kind
    def test_wrong_dtype(self, suffix: str, write: Callable[..., Path]) -> None:
        message = refusal(write(suffix, x=rand(1, 3, 8, 8).double()))
        assert "input 0 has dtype float64" in message
        assert "the model takes float32" in message
        assert ".astype(np.float32)" in message

    @every_kind
    @pytest.mark.parametrize(
        ("value", "counts"), [(float("nan"), "1 NaN and 0 inf"), (-float("inf"), "0 NaN and 1 inf")]
    )
    def test_not_finite(self, suffix: str, value: float, counts: str, write: Callable[..., Path]) -> None:
        x = rand(3, 3, 8, 8)
        x[1, 2, 3, 4] = value
        path = write(suffix, x=x)
        message = refusal(path)
        assert message.startswith(f"{path}[1]: input 0 has {counts}")

    @every_kind
    def test_no_sample(self, suffix: str, write: Callable[..., Path]) -> None:
        assert "it holds no sample" in refusal(write(suffix, x=torch.zeros(0, 3, 8, 8)))

    @every_kind
    def test_wrong_number_of_inputs(self, suffix: str, write: Callable[..., Path]) -> None:
        message = refusal(write(suffix, x=rand(1, 4)), TWO)
        assert "the model takes 2 inputs" in message or "the model's 2 inputs" in message

    @every_kind
    @pytest.mark.parametrize("share", [0, 0.02, 0.5, 0.99])
    def test_truncated(self, suffix: str, share: float, write: Callable[..., Path]) -> None:
        path = write(suffix, x=rand(4, 3, 8, 8))
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])
        message = refusal(path)
        assert message.startswith(f"{path}: it")
        assert "damaged" in message

    @every_kind
    def test_of_another_kind(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"a{suffix}"
        path.write_text("no tensors at all, but a text that is long enough for a header")
        assert refusal(path).startswith(f"{path}: it")

    def test_npz_in_order(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", TWO[0].numpy(), TWO[1].numpy())
        (sample,) = load(tmp_path / "a.npz", TWO)
        assert [tensor.dtype for tensor in sample] == [torch.float32, torch.int64]

    def test_headers_of_npz_need_no_unpacking(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", rand(5, 3, 8, 8).numpy())
        (content,) = files_module.read(tmp_path / "a.npz", None, peek=True)
        assert content[0].is_meta
        assert content[0].shape == (5, 3, 8, 8)

    def test_fortran_order_and_big_endian(self, tmp_path: Path) -> None:
        x = rand(4, 3, 8, 8)
        np.save(tmp_path / "a.npy", np.asfortranarray(x.numpy()).astype(">f4"))
        data = load(tmp_path / "a.npy")
        assert same(data, x)
        assert all(sample[0].is_contiguous() for sample in data)

    def test_list_of_samples(self, tmp_path: Path) -> None:
        torch.save([(TWO[0] + index, TWO[1]) for index in range(5)], tmp_path / "a.pt")
        data = load(tmp_path / "a.pt", TWO)
        assert len(data) == 5
        assert [int(sample[0][0, 0]) for sample in data] == list(range(5))
        assert len(list(load(tmp_path / "a.pt", TWO, max_samples=3))) == 3

    def test_list_of_dicts_names_the_bad_one(self, tmp_path: Path) -> None:
        torch.save([{"a": TWO[0], "b": TWO[1]}, {"a": TWO[0], "b": TWO[0]}], tmp_path / "a.pt")
        assert "a.pt: sample 1: input 1 (b) has dtype float32" in refusal(
            tmp_path / "a.pt", TWO, input_names=["a", "b"]
        )

    def test_list_of_tensors_is_one_sample(self, tmp_path: Path) -> None:
        torch.save([*X, *X, *X], tmp_path / "a.pt")
        message = refusal(tmp_path / "a.pt")
        assert "it has 3 inputs" in message
        assert "torch.cat" in message

    @pytest.mark.parametrize("content", [3, [], {}, [[]], [1, 2], {"a": "b"}, [X[0], 3]])
    def test_no_tensors(self, content: object, tmp_path: Path) -> None:
        torch.save(content, tmp_path / "a.pt")
        assert refusal(tmp_path / "a.pt").startswith(f"{tmp_path / 'a.pt'}: ")

    def test_unsupported(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").write_text("1,2")
        assert "files of kind '.csv' are not supported. Supported: .pt, .pth, .npy," in refusal(tmp_path / "a.csv")

    def test_missing(self, tmp_path: Path) -> None:
        (tmp_path / "calib").mkdir()
        assert f"no such file or folder. Did you mean '{tmp_path / 'calib'}'?" in refusal(tmp_path / "calb")
        assert "empty path" in refusal("")
        assert "it can't be reached (File name too long)" in refusal("x" * 5000)
        assert "it can't be reached" in refusal("~no-such-user/calib")

    def test_suffix_in_capitals(self, tmp_path: Path) -> None:
        with (tmp_path / "A.NPY").open("wb") as file:
            np.save(file, X[0].numpy())
        assert len(load(tmp_path)) == 1

    def test_torchscript(self, tmp_path: Path) -> None:
        torch.jit.save(torch.jit.script(torch.nn.ReLU()), tmp_path / "a.pt")
        assert "TorchScript" in refusal(tmp_path / "a.pt")


class Payload:
    """Pickled, it leaves a file behind where it is loaded."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.trace}'",)


def _pickled(path: Path, payload: object, protocol: int = 4) -> None:
    path.write_bytes(pickle.dumps(payload, protocol))


def _pickled_npy(path: Path, payload: object) -> None:
    np.save(path, np.array([payload], dtype=object), allow_pickle=True)


class TestCodeIsNotRun:
    PAYLOADS: dict[str, Callable[[Path, object], None]] = {
        "zip.pt": lambda path, payload: torch.save({"x": payload}, path),
        "legacy.pth": lambda path, payload: torch.save(payload, path, _use_new_zipfile_serialization=False),
        "plain.pt": lambda path, payload: _pickled(path, payload, protocol=2),
        "object.npy": _pickled_npy,
        "plain.npy": _pickled,
        "object.npz": lambda path, payload: np.savez(path, np.array([payload], dtype=object)),
        "plain.npz": _pickled,
        "plain.safetensors": _pickled,
        "plain.png": _pickled,
    }

    @pytest.mark.parametrize("name", PAYLOADS)
    @pytest.mark.parametrize("folder", [False, True])
    def test_payload(self, name: str, folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        # Torch's switch back to the old behaviour has no effect either.
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
        trace = tmp_path / "trace"
        (tmp_path / "calib").mkdir()
        self.PAYLOADS[name](tmp_path / "calib" / name, Payload(trace))
        message = refusal(tmp_path / "calib" if folder else tmp_path / "calib" / name)
        assert message.startswith(f"{tmp_path / 'calib' / name}: it ")
        if name not in ("plain.safetensors", "plain.png"):
            assert "It was not loaded, as loading it could run code." in message
        assert not trace.exists()

    def test_the_payload_works(self, tmp_path: Path) -> None:
        trace = tmp_path / "trace"
        pickle.loads(pickle.dumps(Payload(trace)))
        assert trace.exists()

    def test_torch_names_what_was_refused_and_its_advice_is_not_repeated(self, tmp_path: Path) -> None:
        torch.save(torch.nn.Linear(2, 2), tmp_path / "a.pt")
        with pytest.raises(CalibrationError, match=r"torch\.nn\.modules\.linear\.Linear") as caught:
            load(tmp_path / "a.pt")
        assert "weights_only" not in str(caught.value)
        assert caught.value.__suppress_context__


def picture(path: Path, mode: str = "RGB", size: tuple[int, int] = (8, 8), **options: Any) -> np.ndarray[Any, Any]:
    channels = len(Image.new(mode, (1, 1)).getbands())
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], channels), dtype=np.uint8)
    Image.fromarray(pixels.squeeze(), mode if mode != "L" else None).save(path, **options)
    return pixels


class TestImages:
    @pytest.mark.parametrize("suffix", [".png", ".bmp", ".ppm", ".webp", ".jpg", ".jpeg"])
    def test_kind(self, suffix: str, tmp_path: Path) -> None:
        pixels = picture(tmp_path / f"a{suffix}", lossless=True)
        ((image,),) = load(tmp_path)
        assert image.shape == (1, 3, 8, 8)
        assert image.dtype == torch.float32
        assert 0 <= image.min() < image.max() <= 1
        if not suffix.startswith(".jp"):
            assert torch.equal(image[0], torch.from_numpy(pixels).permute(2, 0, 1).float() / 255)

    def test_normalised(self, tmp_path: Path) -> None:
        pixels = picture(tmp_path / "a.png")
        data = load(tmp_path, mean=(0.1, 0.2, 0.3), std=0.5)
        ((image,),) = data
        expected = (pixels / 255 - np.array([0.1, 0.2, 0.3])) / 0.5
        assert np.allclose(image[0].permute(1, 2, 0), expected, atol=1e-6)
        assert "images as (1, 3, 8, 8), (pixels / 255 - (0.1, 0.2, 0.3)) / 0.5" in data.source

    def test_layout(self, tmp_path: Path) -> None:
        pixels = picture(tmp_path / "a.png")
        ((image,),) = load(tmp_path, torch.zeros(1, 8, 8, 3), layout="NHWC")
        assert np.allclose(image[0], pixels / 255)
        assert "Then give layout='NHWC'" in refusal(tmp_path, torch.zeros(1, 8, 8, 3))

    def test_resized_to_the_model(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.png", size=(40, 20))
        ((image,),) = load(tmp_path, torch.zeros(1, 3, 6, 10))
        assert image.shape == (1, 3, 6, 10)

    def test_size_where_the_model_leaves_it_open(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.png", size=(40, 20))
        open_model = [InputSpec("x", (None, 3, None, None), torch.float32)]
        ((image,),) = load(tmp_path, open_model, size=(6, 10))
        assert image.shape == (1, 3, 6, 10)
        assert "Give size=(height, width)" in refusal(tmp_path, open_model)
        assert "makes images of another size" in refusal(tmp_path, size=16)

    @pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "CMYK"])
    @pytest.mark.parametrize("channels", [1, 3])
    def test_colours(self, mode: str, channels: int, tmp_path: Path) -> None:
        path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
        picture(path, mode)
        with Image.open(path) as opened:
            expected = np.array(opened.convert("L" if channels == 1 else "RGB")).reshape(8, 8, channels)
        ((image,),) = load(tmp_path, torch.zeros(1, channels, 8, 8))
        assert np.allclose(image[0].permute(1, 2, 0), expected / 255)

    def test_turned_as_its_exif_data_says(self, tmp_path: Path) -> None:
        pixels = picture(tmp_path / "a.png")
        turned = Image.fromarray(pixels)
        exif = Image.Exif()
        exif[0x0112] = 3  # orientation: upside down
        turned.save(tmp_path / "a.png", exif=exif)
        ((image,),) = load(tmp_path)
        assert np.allclose(image[0].permute(1, 2, 0), pixels[::-1, ::-1] / 255)

    def test_pixels_as_they_are(self, tmp_path: Path) -> None:
        pixels = picture(tmp_path / "a.png")
        takes_bytes = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
        ((image,),) = load(tmp_path, takes_bytes)
        assert np.array_equal(image[0].permute(1, 2, 0), pixels)
        assert "mean and std have no place" in refusal(tmp_path, takes_bytes, mean=0.5)

    def test_no_batch_dimension(self, tmp_path: Path) -> None:
        picture(tmp_path / "a.png")
        ((image,),) = load(tmp_path, torch.zeros(3, 8, 8))
        assert image.shape == (3, 8, 8)

    @pytest.mark.parametrize(
        ("example", "words"),
        [
            (TWO, "an image is 1 input, and the model takes 2"),
            (torch.zeros(1, 10), "is no image"),
            (torch.zeros(4, 3, 8, 8), "the model takes batches of 4"),
            (torch.zeros(1, 2, 8, 8), "has 2 channels; images have 1 (gray) or 3 (RGB)"),
            (torch.zeros(1, 3, 8, 8, dtype=torch.int8), "images become float or uint8"),
        ],
    )
    def test_model_takes_no_such_images(self, example: object, words: str, tmp_path: Path) -> None:
        picture(tmp_path / "a.png")
        assert words in refusal(tmp_path, example)

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"mean": 127.5}, "mean=127.5 does not fit pixels, which are scaled to 0..1"),
            ({"std": [0.5, 58.4, 0.5]}, "Divide values meant for pixels of 0..255 by 255"),
            ({"std": 0}, "std=0 does not fit"),
            ({"mean": "imagenet"}, "mean='imagenet'"),
            ({"mean": float("nan")}, "mean=nan"),
            ({"mean": (0.1, 0.2)}, "has 2 numbers, and the model's images have 3 channels"),
            ({"size": (8, 8, 3)}, "is no size of an image"),
            ({"size": "8x8"}, "is no size of an image"),
            ({"size": 0}, "is no size of an image"),
            ({"layout": "nchw"}, "Allowed: 'NCHW', 'NHWC'"),
        ],
    )
    def test_illegal_option(self, options: dict[str, Any], words: str, tmp_path: Path) -> None:
        picture(tmp_path / "a.png")
        assert words in refusal(tmp_path, **options)

    def test_options_without_images(self) -> None:
        assert "mean, layout: only images have this" in refusal([X], mean=0.5, layout="NHWC")

    @pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".bmp", ".ppm"])
    def test_truncated(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"a{suffix}"
        picture(path, size=(64, 64))
        content = path.read_bytes()
        for length in (0, 10, len(content) // 2):
            path.write_bytes(content[:length])
            assert refusal(path).startswith(
                f"{path}: it can't be read as a {suffix[1:].upper().replace('JPG', 'JPEG')} image"
            )

    def test_sixteen_bits(self, tmp_path: Path) -> None:
        Image.fromarray(np.full((8, 8), 40000, dtype=np.uint16)).save(tmp_path / "a.png")
        assert "more than 8 bits" in refusal(tmp_path)

    def test_content_counts_more_than_the_suffix(self, tmp_path: Path) -> None:
        pixels = picture(tmp_path / "a.png")
        (tmp_path / "a.png").rename(tmp_path / "a.jpg")
        ((image,),) = load(tmp_path)
        assert np.allclose(image[0].permute(1, 2, 0), pixels / 255)

    def test_other_formats_are_not_tried(self, tmp_path: Path) -> None:
        Image.new("RGB", (8, 8)).save(tmp_path / "a.gif")
        (tmp_path / "a.gif").rename(tmp_path / "a.png")
        assert "can't be read as a PNG image" in refusal(tmp_path)


def fill(folder: Path, number: int) -> None:
    """Files of one sample each; a sample is the file's number."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        np.save(folder / f"{index:05}.npy", np.full((1, 1), index, dtype=np.float32))


def numbers(folder: Path, **options: Any) -> list[int]:
    return [int(sample[0]) for sample in load(folder, torch.zeros(1, 1), **options)]


class TestPackagesThatAreMissing:
    @pytest.mark.parametrize(("package", "name"), [("PIL", "a.png"), ("safetensors", "a.safetensors")])
    def test_tool_error(self, package: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / name).touch()
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ToolError, match=rf"{name}: .* need the package .* pip install (pillow|safetensors)"):
            load(tmp_path)


class TestFolder:
    def test_recursive_and_sorted(self, tmp_path: Path) -> None:
        for name in ("b.npy", "a/z.npy", "a/b/c.npy", "c.npy"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(tmp_path / name, np.full((1, 1), len(name), dtype=np.float32))
        assert numbers(tmp_path) == [len(name) for name in ("a/b/c.npy", "a/z.npy", "b.npy", "c.npy")]

    def test_hidden_files_are_left_out(self, tmp_path: Path) -> None:
        fill(tmp_path, 2)
        (tmp_path / "._00000.npy").write_bytes(b"resource fork")
        (tmp_path / ".cache").mkdir()
        (tmp_path / ".cache" / "a.npy").write_bytes(b"")
        assert numbers(tmp_path) == [0, 1]

    @pytest.mark.parametrize("name", [None, ".hidden.npy", "sub/"])
    def test_empty(self, name: str | None, tmp_path: Path) -> None:
        if name is not None:
            (tmp_path / name).mkdir() if name.endswith("/") else (tmp_path / name).touch()
        assert f"{tmp_path}: the folder is empty, so there are no samples. Supported: .pt," in refusal(tmp_path)

    def test_unsupported_files_are_counted_and_named(self, tmp_path: Path) -> None:
        fill(tmp_path, 2)
        for index in range(7):
            (tmp_path / f"notes{index}.txt").touch()
        with pytest.warns(
            UserWarning, match=r"7 files of unsupported kinds not used \(notes0.txt, .*notes4.txt, \.\.\.\)"
        ):
            data = load(tmp_path, torch.zeros(1, 1))
        list(data)
        assert record(data).unsupported == 7
        assert record(data).unsupported_names == tuple(f"notes{index}.txt" for index in range(5))

    def test_only_unsupported_files(self, tmp_path: Path) -> None:
        (tmp_path / "a.csv").touch()
        assert "the folder holds 1 file, of unsupported kinds (a.csv)" in refusal(tmp_path)

    def test_choice_is_the_same_for_a_seed(self, tmp_path: Path) -> None:
        fill(tmp_path / "one", 200)
        fill(tmp_path / "two", 200)
        chosen = numbers(tmp_path / "one", max_samples=50, seed=3)
        assert chosen == sorted(chosen)
        assert len(chosen) == 50
        assert chosen == numbers(tmp_path / "two", max_samples=50, seed=3)
        assert chosen != numbers(tmp_path / "one", max_samples=50, seed=4)

    def test_choice_is_uniform(self, tmp_path: Path) -> None:
        for index in range(100):
            (tmp_path / f"{index:02}.npy").touch()
        chosen = Counter(
            path.name for seed in range(200) for path in files_module.find_files(str(tmp_path), 25, seed).paths
        )
        # Each is expected 50 times; five standard deviations of a binomial are 31.
        assert len(chosen) == 100
        assert 19 < min(chosen.values()) <= max(chosen.values()) < 81

    def test_many_files_are_not_opened(self, tmp_path: Path) -> None:
        fill(tmp_path, 3)
        for index in range(5000):
            (tmp_path / f"x{index}.npy").touch()  # empty: opening one would be an error
        data = load_calibration(tmp_path, max_samples=10)
        assert data.source.endswith("(10 of 5003 files, seed 0)")

    def test_files_share_the_samples(self, tmp_path: Path) -> None:
        for index in range(3):
            np.save(tmp_path / f"{index}.npy", np.full((10, 1), index, dtype=np.float32))
        assert Counter(numbers(tmp_path, max_samples=10)) == {0: 4, 1: 3, 2: 3}
        assert Counter(numbers(tmp_path)) == {0: 10, 1: 10, 2: 10}

    def test_all_headers_are_checked_before_the_first_sample(self, tmp_path: Path) -> None:
        fill(tmp_path, 5)
        np.save(tmp_path / "00004.npy", np.zeros((1, 2), dtype=np.float32))
        data = load(tmp_path, torch.zeros(1, 1))
        with pytest.raises(CalibrationError, match=r"00004.npy: input 0 has shape \(1, 2\); the model takes \(1, 1\)"):
            next(iter(data))

    def test_first_sample_is_checked_at_once(self, tmp_path: Path) -> None:
        fill(tmp_path, 5)
        with pytest.raises(CalibrationError, match=r"00000\.npy"):
            load(tmp_path)

    def test_link_that_leaves_the_folder(self, tmp_path: Path) -> None:
        fill(tmp_path / "calib", 2)
        fill(tmp_path / "elsewhere", 1)
        for target in (tmp_path / "elsewhere" / "00000.npy", tmp_path / "elsewhere", Path("../elsewhere"), tmp_path):
            link = tmp_path / "calib" / "link.npy"
            link.symlink_to(target)
            message = refusal(tmp_path / "calib", torch.zeros(1, 1))
            assert message.startswith(f"{link}: it is a symbolic link that leaves the folder, to ")
            link.unlink()

    def test_folder_with_a_name_that_begins_alike(self, tmp_path: Path) -> None:
        fill(tmp_path / "calib", 1)
        fill(tmp_path / "calib2", 1)
        (tmp_path / "calib" / "link.npy").symlink_to(tmp_path / "calib2" / "00000.npy")
        assert "leaves the folder" in refusal(tmp_path / "calib", torch.zeros(1, 1))

    def test_links_that_stay_in_the_folder(self, tmp_path: Path) -> None:
        fill(tmp_path / "calib" / "sub", 2)
        (tmp_path / "calib" / "loop").symlink_to(tmp_path / "calib")
        (tmp_path / "calib" / "again.npy").symlink_to("sub/00001.npy")
        (tmp_path / "link").symlink_to(tmp_path / "calib")
        assert numbers(tmp_path / "calib") == [1, 0, 1]
        assert numbers(tmp_path / "link") == [1, 0, 1]

    def test_link_to_nothing(self, tmp_path: Path) -> None:
        fill(tmp_path, 1)
        (tmp_path / "gone.npy").symlink_to("nowhere.npy")
        assert f"{tmp_path / 'gone.npy'}: it can't be read, as it is a symbolic link to nothing" in refusal(tmp_path)
        assert "a symbolic link to nowhere.npy, which is not there" in refusal(tmp_path / "gone.npy")

    def test_pipe(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.npy")  # opening it would wait for ever
        assert "no ordinary file" in refusal(tmp_path)
        assert "neither a file nor a folder" in refusal(tmp_path / "a.npy")

    def test_folder_named_like_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "x.pt").mkdir()
        assert "the folder is empty" in refusal(tmp_path / "x.pt")

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
    def test_no_permission(self, tmp_path: Path) -> None:
        fill(tmp_path / "calib", 2)
        (tmp_path / "calib" / "00001.npy").chmod(0)
        assert "00001.npy: it can't be opened (Permission denied)" in refusal(tmp_path, torch.zeros(1, 1))
        (tmp_path / "calib").chmod(0)
        assert "the folder can't be searched (Permission denied)" in refusal(tmp_path, torch.zeros(1, 1))
        (tmp_path / "calib").chmod(0o700)

    @pytest.mark.parametrize("suffix", [*WRITERS, ".png"])
    def test_file_that_goes_away(self, suffix: str, tmp_path: Path) -> None:
        path = tmp_path / f"a{suffix}"
        picture(path) if suffix == ".png" else WRITERS[suffix](path, {"x": X[0]})
        data = load(tmp_path)
        path.unlink()
        with pytest.raises(CalibrationError, match=f"a{suffix}: it can't be opened"):
            list(data)


class TestIterables:
    def test_list(self) -> None:
        samples = [(rand(1, 3, 8, 8) + index,) for index in range(5)]
        data = load(samples)
        assert len(data) == 5
        assert same(data, torch.cat([sample[0] for sample in samples]))

    @pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: x.numpy(), lambda x: (x.numpy(),)])
    def test_spellings_of_a_sample(self, wrap: Callable[[torch.Tensor], Any]) -> None:
        assert same(load([wrap(rand(1, 3, 8, 8))]), rand(1, 3, 8, 8))

    def test_every_item_of_a_list_is_checked_at_once(self) -> None:
        with pytest.raises(CalibrationError, match=r"a list of 3, sample 2: input 0 has shape \(1, 3, 4, 4\)"):
            load([X, X, (rand(1, 3, 4, 4),)])

    @pytest.mark.parametrize("source", [rand(6, 3, 8, 8), rand(6, 3, 8, 8).numpy(), {"x": rand(6, 3, 8, 8)}])
    def test_array(self, source: object) -> None:
        assert len(load(source)) == 6

    def test_the_samples_of_the_caller_stay_as_they_are(self) -> None:
        x = rand(1, 3, 8, 8)
        for (sample,) in load([x]):
            sample.zero_()
        assert torch.equal(x, rand(1, 3, 8, 8))

    def test_memory_format_is_kept(self) -> None:
        x = rand(4, 3, 8, 8).to(memory_format=torch.channels_last)
        assert all(sample[0].is_contiguous(memory_format=torch.channels_last) for sample in load([x]))

    def test_max_samples_of_a_list(self) -> None:
        chosen = [
            int(sample[0])
            for sample in load([torch.tensor([[float(i)]]) for i in range(500)], torch.zeros(1, 1), max_samples=20)
        ]
        assert len(chosen) == 20
        assert chosen == sorted(chosen)
        assert chosen[-1] > 250

    def test_data_loader(self) -> None:
        loader = DataLoader(TensorDataset(rand(20, 3, 8, 8)), batch_size=8)
        data = load(loader)
        with pytest.raises(TypeError, match="a DataLoader shows only when they are gone through"):
            len(data)
        assert same(data, rand(20, 3, 8, 8))
        assert len(data) == 20
        assert len(list(load(loader, max_samples=9))) == 9

    def test_data_loader_with_labels(self) -> None:
        loader = DataLoader(TensorDataset(rand(4, 3, 8, 8), torch.zeros(4)), batch_size=2)
        message = refusal(loader)
        assert "it has 2 inputs" in message
        assert "give lambda: (batch[0] for batch in loader)" in message
        assert same(load(lambda: (batch[0] for batch in loader)), rand(4, 3, 8, 8))

    def test_data_set(self) -> None:
        message = refusal(TensorDataset(rand(20, 3, 8, 8)))
        assert "a TensorDataset of 20, sample 0: input 0 has shape (3, 8, 8)" in message
        assert "DataLoader(x) for a data set" in message

    def test_data_set_without_random_access(self) -> None:
        class Stream(IterableDataset[torch.Tensor]):
            def __iter__(self) -> Iterator[torch.Tensor]:
                return iter(X * 3)

            def __len__(self) -> int:
                return 3

        assert len(list(load(Stream()))) == 3

    def test_function_with_arguments(self) -> None:
        def generate(number: int) -> Iterator[torch.Tensor]:
            yield from X * number

        message = refusal(generate)
        assert "can't be called without arguments (missing a required argument: 'number')" in message
        assert len(list(load(lambda: generate(3)))) == 3

    def test_generator_can_be_gone_through_again(self) -> None:
        drawn = []

        def generate() -> Iterator[torch.Tensor]:
            for index in range(1000):
                drawn.append(index)
                yield torch.full((1, 1), float(index))

        data = load(generate(), torch.zeros(1, 1), max_samples=7)
        assert len(drawn) == 1  # the first sample is checked at once
        assert [int(sample[0]) for sample in data] == list(range(7))
        assert [int(sample[0]) for sample in data] == list(range(7))
        assert len(drawn) == 7
        other = data.bind(specs_of(torch.zeros(1, 1)))
        assert [int(sample[0]) for sample in other] == list(range(7))
        assert "kept in memory" in data.source

    def test_generator_that_fills_the_same_memory(self) -> None:
        def generate() -> Iterator[torch.Tensor]:
            buffer = torch.zeros(1, 1)
            for index in range(3):
                yield buffer.fill_(index)

        data = load(generate(), torch.zeros(1, 1))
        assert [int(sample[0]) for sample in data] == [int(sample[0]) for sample in data] == [0, 1, 2]

    def test_generator_that_fails_does_not_end_early_the_next_time(self) -> None:
        def generate() -> Iterator[torch.Tensor]:
            yield X[0]
            raise OSError("disk gone")

        data = load(generate())
        with pytest.raises(OSError, match="disk gone"):
            list(data)
        with pytest.raises(CalibrationError, match="it failed before, after 1 items"):
            list(data)

    def test_exhausted_generator(self) -> None:
        generator = (X for _ in range(3))
        list(generator)
        with pytest.raises(CalibrationError, match="it gives no sample: it is empty, or was gone through before"):
            load(generator)

    @pytest.mark.parametrize("empty", [[], (), {}, DataLoader(TensorDataset(torch.zeros(0, 3, 8, 8))), list, iter([])])
    def test_empty(self, empty: object) -> None:
        assert any(words in refusal(empty) for words in ("it gives no sample", "is empty", "dict without keys"))

    def test_function_that_gives_an_exhausted_generator(self) -> None:
        generator = (X for _ in range(3))
        data = load(lambda: generator)
        assert len(list(data)) == 3
        with pytest.raises(CalibrationError, match="it gave 3 samples before and gives none now, so it is exhausted"):
            list(data)

    @pytest.mark.parametrize("made", ["folder", 3, None, X[0]])
    def test_function_that_gives_no_iterable(self, made: object) -> None:
        assert "function <lambda>: it gives" in refusal(lambda: made)

    @pytest.mark.parametrize(
        "source", [None, 3, b"folder", 2.5, object(), torch.nn.ReLU(), torch.nn.Sequential(torch.nn.ReLU())]
    )
    def test_no_source(self, source: object) -> None:
        assert "is no data to go through. Allowed: the path of a file or folder, a list of samples" in refusal(source)

    @pytest.mark.parametrize("item", ["a.npy", 3, None, object(), [1, 2], np.array(["a"])])
    def test_no_sample(self, item: object) -> None:
        assert "sample 0: " in refusal([item])

    @pytest.mark.parametrize(
        ("sample", "words"),
        [
            (X[0].to_sparse(), ".to_dense()"),
            (X[0].to("meta"), "has no values"),
            (X[0].to(torch.uint8), "Raw pixels have to be scaled"),
            (
                torch.zeros(1, 8, 8, 3),
                "It looks like NHWC, and the model takes NCHW: bring it over with x.permute(0, 3, 1, 2)",
            ),
        ],
    )
    def test_hints(self, sample: torch.Tensor, words: str) -> None:
        assert words in refusal([sample])


class TestBatches:
    @pytest.mark.parametrize(
        ("shape", "example", "number"),
        [
            ((24, 3, 8, 8), (8, 3, 8, 8), 3),
            ((5, 7), (1, 7), 5),
            ((5,), (1,), 5),
            ((28, 28), (28, 28), 1),
        ],
    )
    def test_split(self, shape: tuple[int, ...], example: tuple[int, ...], number: int) -> None:
        data = load([rand(*shape)], torch.zeros(example))
        assert len(data) == number
        assert all(sample[0].shape == example for sample in data)
        assert same(data, rand(*shape))

    @pytest.mark.parametrize(
        ("shape", "example", "words"),
        [
            ((20, 3, 8, 8), (8, 3, 8, 8), "20 is no multiple of 8"),
            ((4, 3, 8, 8), (8, 3, 8, 8), "4 is no multiple of 8"),
            ((56, 28), (28, 28), "If these are batches, split them: x.split(28)."),
            ((32000,), (16000,), "x.split(16000)"),
            ((5, 8), (1, 7), "the model takes (1, 7)"),
            ((), (1,), "has shape ()"),
        ],
    )
    def test_not_split(self, shape: tuple[int, ...], example: tuple[int, ...], words: str) -> None:
        assert words in refusal([rand(*shape)], torch.zeros(example))

    def test_inputs_of_unequal_batches(self) -> None:
        message = refusal([(torch.zeros(3, 4), TWO[1])], TWO)
        assert "its inputs hold unequal numbers of samples: input 0 has shape (3, 4) for (1, 4), input 1 has" in message

    def test_split_inputs_stay_together(self) -> None:
        first, second = torch.arange(12.0).reshape(3, 4), torch.arange(6).reshape(3, 2)
        samples = list(load([(first, second)], TWO))
        assert [int(sample[0][0, 0]) for sample in samples] == [0, 4, 8]
        assert [int(sample[1][0, 0]) for sample in samples] == [0, 2, 4]

    def test_batches_that_the_model_takes_as_they_are(self) -> None:
        data = load([rand(5, 3, 8, 8), rand(2, 3, 8, 8)], allow_batch=True)
        assert [sample[0].shape[0] for sample in data] == [5, 2]
        assert "the model takes (any, 3, 8, 8)" in refusal([rand(5, 3, 8, 9)], allow_batch=True)

    def test_scalar_input(self) -> None:
        assert len(load([torch.tensor(2.0)], torch.tensor(1.0))) == 1


class TestDicts:
    IDS = torch.zeros(1, 3, dtype=torch.int64)

    @pytest.mark.parametrize("key", ["pixel_values", "x", "image"])
    @pytest.mark.parametrize("names", [None, ["x"]])
    def test_one_input(self, key: str, names: list[str] | None) -> None:
        rows = [{key: rand(3, 8, 8), "label": 3}, UserDict({key: rand(1, 3, 8, 8), "labels": torch.zeros(1)})]
        assert len(list(load(rows, specs_of(X, names)))) == 2

    def test_hugging_face_rows_of_lists(self) -> None:
        data = load([{"input_ids": [1, 2, 3], "attention_mask": [1, 1, 1], "text": "abc"}], self.IDS)
        assert [sample[0].tolist() for sample in data] == [[[1, 2, 3]]]
        data = load([{"pixel_values": rand(1, 3, 8, 8)[0].tolist()}])
        assert same(data, rand(1, 3, 8, 8))

    def test_arguments_by_name(self) -> None:
        two = specs_of((self.IDS, self.IDS), ["input_ids", "attention_mask"])
        (sample,) = load([{"attention_mask": [1, 1, 0], "input_ids": [1, 2, 3], "labels": 1}], two)
        assert [tensor.tolist() for tensor in sample] == [[[1, 2, 3]], [[1, 1, 0]]]

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ([1.0, 2.0, 3.0], "holds numbers of kind float"),
            ([[1], [2, 3]], "makes no tensor"),
            (["a"], "makes no tensor"),
            ([True, False, True], "holds numbers of kind bool"),
            ([1, 2, 2**70], "makes no tensor"),
        ],
    )
    def test_ambiguous_lists(self, value: object, words: str) -> None:
        assert words in refusal([{"input_ids": value}], self.IDS)

    def test_names_not_known(self) -> None:
        message = refusal([{"a": TWO[0], "b": TWO[1]}], TWO)
        assert "the keys 'a', 'b'" in message
        assert "load_calibration(..., input_names=[...])" in message

    def test_given_names_are_all_that_counts(self) -> None:
        assert "it lacks 'x'" in refusal([{"pixel_values": X[0]}], input_names=["x"])

    def test_names_come_from_the_model_unless_they_are_given(self) -> None:
        specs = specs_of(TWO, ["a", "b"])
        row = {"a": TWO[0], "b": TWO[1], "c": TWO[1] + 1}
        ((_, second),) = load_calibration([row]).bind(specs)
        assert torch.equal(second, TWO[1])
        ((_, second),) = load_calibration([row], input_names=["a", "c"]).bind(specs)
        assert torch.equal(second, TWO[1] + 1)

    def test_several_candidates(self) -> None:
        assert "'a', 'b'" in refusal([{"a": X[0], "b": X[0]}])
        assert len(load([{"a": X[0], "b": X[0]}], input_names=["b"])) == 1

    def test_rows_without_batch_dimension_only_by_name(self) -> None:
        assert "The batch dimension is missing" in refusal([rand(3, 8, 8)])

    @pytest.mark.parametrize("names", ["x", [], ["x", "x"], [1], ["x", "y"]])
    def test_illegal_names(self, names: object) -> None:
        assert "input_names=" in refusal([X], input_names=names)


class TestData:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"max_samples": 0}, "max_samples=0 is not legal. Allowed: a whole number from 1 up"),
            ({"max_samples": True}, "max_samples=True"),
            ({"max_samples": 1.5}, "max_samples=1.5"),
            ({"seed": "a"}, "seed='a'"),
            ({"allow_batch": "yes"}, "allow_batch='yes' is not legal. Allowed: True, False."),
        ],
    )
    def test_illegal_option(self, options: dict[str, Any], words: str) -> None:
        assert words in refusal([X], **options)

    @pytest.mark.parametrize(
        ("example", "words"), [("x", "a str"), ((), "an empty tuple"), ((X[0], 3), "[1] is an int")]
    )
    def test_illegal_example_inputs(self, example: object, words: str) -> None:
        assert words in refusal([X], example)

    @pytest.mark.parametrize("example", [X[0], X, list(X), [X, X], (InputSpec("x", (1, 3, 8, 8), torch.float32),)])
    def test_spellings_of_example_inputs(self, example: object) -> None:
        assert len(load([X], example)) == 1

    def test_specs(self) -> None:
        assert specs_of(TWO, ["a", "b"]) == (
            InputSpec("a", (1, 4), torch.float32),
            InputSpec("b", (1, 2), torch.int64),
        )

    def test_specs_of_a_captured_graph(self) -> None:
        class Model(torch.nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x + 1

        program = torch.export.export(
            Model(), (rand(2, 3, 8, 8),), dynamic_shapes={"x": {0: torch.export.Dim("batch")}}
        )
        (node,) = (node for node in program.graph.nodes if node.op == "placeholder")
        assert specs_of((node.meta["val"],), [node.name]) == (InputSpec("x", (None, 3, 8, 8), torch.float32),)

    def test_unbound(self) -> None:
        data = load_calibration([X])
        with pytest.raises(CalibrationError, match=r"call bind\(specs_of\(example_inputs\)\)"):
            iter(data)
        with pytest.raises(TypeError):
            len(data)
        assert data.specs is None
        assert len(list(data.bind(specs_of(X)))) == 1
        with pytest.raises(CalibrationError, match=r"a list of 1, sample 0: input 0 \(y\) has shape"):
            data.bind([InputSpec("y", (1, 3, 9, 9), torch.float32)])

    def test_source_is_looked_at_before_binding(self, tmp_path: Path) -> None:
        sources: tuple[object, ...] = (tmp_path, tmp_path / "none", [], None)
        for source in sources:
            with pytest.raises(CalibrationError):
                load_calibration(source)

    def test_of_data(self) -> None:
        data = load_calibration([X] * 5, max_samples=3)
        assert load_calibration(data) is data
        assert len(load(data)) == 3
        assert "max_samples: the source is CalibrationData, which has its options already" in refusal(
            data, max_samples=2
        )
        assert len(load(load_calibration([{"a": X[0], "b": X[0]}]), input_names=["a"])) == 1

    def test_truth_is_not_a_matter_of_length(self) -> None:
        assert load_calibration(lambda: [X])

    def test_record(self, tmp_path: Path) -> None:
        fill(tmp_path, 4)
        data = load(tmp_path, torch.zeros(1, 1), max_samples=3)
        assert data.record is None
        passing = iter(data)
        next(passing)
        assert (record(data).samples, record(data).complete) == (1, False)
        list(data)
        whole = record(data)
        assert (whole.samples, whole.complete, whole.files, whole.files_found) == (3, True, 3, 4)
        assert whole.source == f"folder {tmp_path} (3 of 4 files, seed 0)"

    def test_digest_is_of_the_values_and_not_of_their_source(self, tmp_path: Path) -> None:
        x = rand(6, 3, 8, 8)
        np.save(tmp_path / "a.npy", x.numpy())
        expected = hashlib.sha256()
        for sample in x.numpy():
            expected.update(b"torch.float32[1, 3, 8, 8]" + sample.tobytes())
        sources = [
            tmp_path / "a.npy",
            x,
            list(torch.split(x, 2)),
            iter(torch.split(x, 1)),
            x.clone(memory_format=torch.channels_last),
        ]
        for source in sources:
            data = load(source)
            assert digest(data) == digest(data) == expected.hexdigest()

    def test_digest_tells_apart(self) -> None:
        floats = TWO[0]
        integers = floats.int()  # the same bytes
        several = [[floats], [floats, floats], [floats + 1]]
        assert len({*(digest(load(samples, floats)) for samples in several), digest(load([integers], integers))}) == 4

    @pytest.mark.parametrize(
        "dtype", [torch.bfloat16, torch.float16, torch.bool, torch.int8, torch.complex64, torch.float8_e4m3fn]
    )
    def test_dtypes(self, dtype: torch.dtype) -> None:
        example = torch.zeros(1, 4).to(dtype)
        data = load([example], example)
        assert [sample[0].dtype for sample in data] == [dtype]

    def test_the_error_loads_without_torch(self) -> None:
        code = "import sys, arm_recipes; arm_recipes.CalibrationError; print('torch' in sys.modules)"
        assert (
            subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
        )

    def test_random_state_is_left_alone(self) -> None:
        random.seed(0)
        torch.manual_seed(0)
        before = (random.getstate(), torch.get_rng_state())
        list(load([X] * 50, max_samples=5))
        assert random.getstate() == before[0]
        assert torch.equal(torch.get_rng_state(), before[1])


@pytest.mark.parametrize(
    ("sample", "message"),
    [
        (np.zeros((1, 3, 8, 8), np.float32).view(np.ma.MaskedArray), "is a masked array, whose mask would be"),
        (torch.nested.nested_tensor([torch.zeros(2), torch.zeros(3)]), "is a nested tensor; only ordinary, dense ones"),
    ],
)
def test_what_would_lose_something_is_refused(sample: object, message: str) -> None:
    assert message in refusal([sample])


def test_a_small_file_of_a_huge_image_is_refused_by_its_header(tmp_path: Path) -> None:
    from PIL import Image

    Image.new("1", (12_000, 12_000)).save(tmp_path / "huge.png")
    assert (tmp_path / "huge.png").stat().st_size < 100_000
    assert "it has 12000 x 12000 pixels, and images of at most 50,000,000 are read" in refusal(tmp_path / "huge.png")
