"""From a name on the command line to a model and its inputs: what is found, and what is said where nothing is."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from arm_recipes import ModelError
from arm_recipes.session.loading import load_model, random_inputs, read_inputs

_NETS = """
import torch
from torch import nn
from sibling import width

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(width, 2)
    def forward(self, x, y=None):
        return self.linear(x)

class Zoo:
    small = Net()

net = Net()
def make(): return Net()
def pair(): return Net(), (torch.ones(1, width),)
def lazy():
    from late_sibling import net
    return net
def listed(): return Net(), [(torch.ones(1, width),), (torch.zeros(1, width),)]
def wants(width): return Net()
def number(): return 3
def boom(): raise KeyError("weights.pth")
program = torch.export.export(net, (torch.ones(1, width),))
"""


@pytest.fixture
def nets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(_NETS)
    (tmp_path / "sibling.py").write_text("width = 3\n")
    (tmp_path / "late_sibling.py").write_text("import nets\nnet = nets.Net()\n")
    for name in ("nets", "sibling", "late_sibling"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "nets.py"


@pytest.mark.parametrize("name", ["net", "make", "pair", "lazy", "listed", "Zoo.small", "program"])
@pytest.mark.parametrize("form", ["absolute", "relative", "module"])
def test_a_model_is_found(name: str, form: str, nets: Path) -> None:
    place = {"absolute": str(nets), "relative": "nets.py", "module": "nets"}[form]
    before = list(sys.path)
    loaded = load_model(f"{place}:{name}")
    assert sys.path == before
    assert type(loaded.model).__name__ == ("ExportedProgram" if name == "program" else "Net")
    if name == "pair":
        assert loaded.example_inputs[0].shape == (1, 3)
    elif name == "listed":
        assert len(loaded.example_inputs) == 2
    else:
        assert loaded.example_inputs is None


def test_a_file_made_for_upstreams_script(nets: Path) -> None:
    nets.write_text(f"{_NETS}\nModelUnderTest = net\nModelInputs = [torch.ones(1, width)]\n")
    for given in ("nets.py", "nets.py:ModelUnderTest", "nets"):
        loaded = load_model(given)
        assert isinstance(loaded.model, nn.Module)
        assert isinstance(loaded.example_inputs, tuple)


def test_the_only_model_of_a_file_needs_no_name(nets: Path) -> None:
    nets.write_text("from torch import nn\nmodel = nn.ReLU()\n")
    assert isinstance(load_model("nets.py").model, nn.ReLU)


def test_a_pt2_file(tmp_path: Path) -> None:
    program = torch.export.export(nn.ReLU(), (torch.ones(1, 3),))
    torch.export.save(program, tmp_path / "relu.pt2")
    assert load_model(str(tmp_path / "relu.pt2")).model.graph_signature == program.graph_signature
    (tmp_path / "bad.pt2").write_bytes(b"no archive")
    with pytest.raises(ModelError, match=r"bad\.pt2' is no \.pt2 file"):
        load_model(str(tmp_path / "bad.pt2"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("net.py", r"no such file\. Did you mean 'nets\.py'\?"),
        ("no/net.py:x", r"no such file\. There is no folder 'no' either\."),
        ("nets.py:nett", r"nets\.py has no 'nett'\. Did you mean 'net'\? It has these models: net, program\."),
        ("nets.py:Zoo.large", r"nets\.py has no 'large'"),
        ("nets.py", r"it is not said which model of it is meant\. It has net, program: give nets\.py:net\."),
        ("nets.py:Net", r"is the class Net\. Give an instance of it, or a function that makes one: def make\(\)"),
        ("nets.py:wants", r"is a function that wants arguments \(width\)\."),
        ("nets.py:number", r"the function gives something of type int\."),
        ("nets.py:torch", r"it is something of type module\."),
        ("netz:net", r"there is no module 'netz'\."),
        ("nets.inner:net", r"there is no module 'nets\.inner'"),
        ("model.pt", r"a \.pt file is either tensors, or a pickle"),
        ("", r"names no model"),
        ("../x", r"names no model"),
        (".", r"names no model"),
    ],
)
def test_where_there_is_no_model(given: str, message: str, nets: Path) -> None:
    with pytest.raises(ModelError, match=message):
        load_model(given)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("import no_such_thing", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("x = (", "SyntaxError: '(' was never closed"),
        ("import sys\nsys.exit(3)", "SystemExit: 3"),
        ("def f():\n    return 1 / 0\nf()", "ZeroDivisionError: division by zero"),
    ],
)
def test_what_a_file_raises_is_shown_without_our_frames(content: str, error: str, nets: Path) -> None:
    nets.write_text(content)
    with pytest.raises(ModelError) as caught:
        load_model("nets.py")
    message = str(caught.value)
    assert message.startswith(f"model='nets.py': the file raised while it was run:\n  File \"{nets}\", line ")
    assert message.endswith(error)
    assert "arm_recipes/session/loading.py" not in message
    assert "importlib" not in message


def test_what_a_function_raises_is_shown(nets: Path) -> None:
    with pytest.raises(ModelError, match=re.escape("nets.py:boom': the function raised:\n  File ")) as caught:
        load_model("nets.py:boom")
    assert str(caught.value).endswith("KeyError: 'weights.pth'")


class _Two(nn.Module):
    def forward(self, image: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        return image + ids


_IMAGE, _IDS = torch.rand(1, 3), torch.ones(1, 3, dtype=torch.int64)
_BY_NAME = {"ids": _IDS, "image": _IMAGE}

_WRITERS: dict[str, Callable[[Path], object]] = {
    "both.pt": lambda path: torch.save((_IMAGE, _IDS), path),
    "list.pt": lambda path: torch.save([_IMAGE, _IDS], path),
    "named.pt": lambda path: torch.save(_BY_NAME, path),
    "both.npz": lambda path: np.savez(path, _IMAGE.numpy(), _IDS.numpy()),
    "named.npz": lambda path: np.savez(path, ids=_IDS.numpy(), image=_IMAGE.numpy()),
    "named.safetensors": lambda path: save_file(_BY_NAME, path),
}


@pytest.mark.parametrize("name", _WRITERS)
def test_inputs_of_one_file(name: str, tmp_path: Path) -> None:
    _WRITERS[name](tmp_path / name)
    image, ids = read_inputs([str(tmp_path / name)], _Two())
    assert torch.equal(image, _IMAGE)
    assert torch.equal(ids, _IDS)


def test_inputs_of_several_files(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", _IMAGE.numpy())
    torch.save(_IDS, tmp_path / "b.pt")
    image, ids = read_inputs([str(tmp_path / "a.npy"), str(tmp_path / "b.pt")], _Two())
    assert torch.equal(image, _IMAGE)
    assert torch.equal(ids, _IDS)


def test_inputs_that_are_none(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return Path.touch, (Path(tmp_path / "touched"),)  # type: ignore[return-value]

    torch.save(Evil(), tmp_path / "evil.pt")
    with pytest.raises(ModelError, match="It was not loaded"):
        read_inputs([str(tmp_path / "evil.pt")], _Two())
    assert not (tmp_path / "touched").exists()
    for name, message in (("x.png", "hold no inputs"), ("none.npy", "no such file")):
        with pytest.raises(ModelError, match=message):
            read_inputs([str(tmp_path / name)], _Two())
    torch.save({"ids": _IDS, "picture": _IMAGE}, tmp_path / "other.pt")
    with pytest.raises(ModelError, match="holds ids, picture, and the model's arguments are image, ids"):
        read_inputs([str(tmp_path / "other.pt")], _Two())


def test_random_inputs() -> None:
    image, ids = random_inputs(["1x3x4", "2:int64"])
    assert (image.shape, image.dtype, ids.shape, ids.dtype) == ((1, 3, 4), torch.float32, (2,), torch.int64)
    assert torch.equal(random_inputs(["1x3x4"])[0], image)
    for given, message in (
        ("1x0", "is no shape"),
        ("1x3x", "is no shape"),
        ("", "is no shape"),
        ("1,3", "is no shape"),
        ("3:flot32", r"'flot32' is no dtype\. Did you mean 'float32'\?"),
    ):
        with pytest.raises(ModelError, match=message):
            random_inputs([given])
