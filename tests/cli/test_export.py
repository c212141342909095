"""`arm-recipes export`, from end to end, and the modules behind it."""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from executorch.devtools.bundled_program.serialize import deserialize_from_flatbuffer_to_bundled_program
from executorch.devtools.etrecord import parse_etrecord
from executorch.export import ExportRecipe
from executorch.export import export as standard_export

from arm_recipes import ArmRecipeType
from arm_recipes.cli import group
from arm_recipes.reporting import build
from arm_recipes.session.loading import load_model

from .documents import valid

pytestmark = pytest.mark.slow

# Two delegates on Ethos-U55, with operators between and behind them that no Arm target takes.
_MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.second(torch.fft.rfft(x).real)

class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 2)
    def forward(self, x):
        return self.linear(x)

class Branches(nn.Module):
    def forward(self, x):
        return x + 1 if x.sum() > 0 else x - 1

torch.manual_seed(0)
net = Net().eval()
def small(): return Small().eval(), (torch.randn(1, 3),)
def training(): return Small(), (torch.randn(1, 3),)
def branches(): return Branches(), (torch.ones(1, 3),)
def unsupported(): return nn.Softshrink(), (torch.ones(1, 3),)
def interrupted(): raise KeyboardInterrupt
ModelUnderTest = net
ModelInputs = (torch.randn(1, 3, 8, 8),)
"""

_BOARD = """
[System_Config.Board]
core_clock=400e6
axi0_port=Sram
axi1_port=OffChipFlash
Sram_clock_scale=1.0
OffChipFlash_clock_scale=0.125
[Memory_Mode.Flash]
const_mem_area=Axi1
arena_mem_area=Axi0
cache_mem_area=Axi0
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "model.py").write_text(_MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder in which one export wrote everything it can, and what it printed."""
    folder = tmp_path_factory.mktemp("everything")
    (folder / "model.py").write_text(_MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        printed, said = io.StringIO(), io.StringIO()
        line = (
            "export model.py -r ethosu-u55-int8 --output build --bundle --etrecord --intermediates 'in between' "
            "--quantization-report --json --log build.log --min-delegation 10"
        )
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            status = group.main(shlex.split(line))
        assert status == 0, said.getvalue()
    return folder, valid(printed.getvalue()), said.getvalue()


class TestEverything:
    def test_the_pte_is_the_standard_sessions(self, everything: Any) -> None:
        """Whatever else was asked for."""
        folder, document, _ = everything
        loaded = load_model(str(folder / "model.py"))
        recipe = ExportRecipe.get_recipe(ArmRecipeType.ETHOSU_U55_INT8)
        expected = standard_export(loaded.model, [loaded.example_inputs], recipe).get_pte_buffer()
        pte = (folder / "build/model_ethosu_u55_int8.pte").read_bytes()
        assert pte == expected
        assert document["result"]["pte_bytes"] == len(pte)

    def test_no_file_is_left_over(self, everything: Any) -> None:
        folder, document, _ = everything
        assert sorted(path.name for path in folder.iterdir() if path.name != "__pycache__") == [
            "build",
            "build.log",
            "in between",
            "model.py",
        ]
        assert sorted(path.name for path in (folder / "build").iterdir()) == [
            "model_ethosu_u55_int8.bpte",
            "model_ethosu_u55_int8.etrecord",
            "model_ethosu_u55_int8.pte",
        ]
        assert set(document["files"]) == {"pte", "bundle", "etrecord", "intermediates"}

    def test_the_bundle_holds_inputs_and_what_the_quantized_model_makes_of_them(self, everything: Any) -> None:
        folder, _, _ = everything
        bundle = deserialize_from_flatbuffer_to_bundled_program(
            (folder / "build/model_ethosu_u55_int8.bpte").read_bytes()
        )
        (suite,) = bundle.method_test_suites
        (case,) = suite.test_cases
        assert [value.val.sizes for value in case.inputs] == [[1, 3, 8, 8]]
        expected = torch.frombuffer(bytearray(case.expected_outputs[0].val.data), dtype=torch.float32)
        exported = torch.export.load(folder / "in between/forward.pt2").module(check_guards=False)
        inputs = torch.frombuffer(bytearray(case.inputs[0].val.data), dtype=torch.float32).reshape(1, 3, 8, 8)
        assert torch.equal(exported(inputs).flatten(), expected)
        assert len(set(expected.tolist())) > 10
        assert bundle.program == (folder / "build/model_ethosu_u55_int8.pte").read_bytes()

    def test_the_etrecord_can_be_read(self, everything: Any) -> None:
        folder, _, _ = everything
        record = parse_etrecord(str(folder / "build/model_ethosu_u55_int8.etrecord"))
        assert record.edge_dialect_program is not None

    def test_every_delegate_has_its_intermediate_files(self, everything: Any) -> None:
        folder, document, _ = everything
        between = folder / "in between"
        delegates = document["result"]["methods"][0]["delegates"]
        assert len(delegates) == 2
        graphs = []
        for index, delegate in enumerate(delegates):
            own = between / f"forward.{index}"
            assert (own / "payload.bin").stat().st_size == delegate["payload_bytes"]
            assert list(own.glob("output/*summary*.csv"))
            graphs.append((own / "out.tosa").read_bytes())
        assert graphs[0] != graphs[1]
        assert "aten._fft_r2c): Not included in" in (between / "forward.delegation.txt").read_text()

    def test_the_report(self, everything: Any) -> None:
        _, document, _ = everything
        found = document["result"]
        (method,) = found["methods"]
        assert found["recipe"] == "ETHOSU_U55_INT8"
        assert {each["operator"]: each["count"] for each in method["delegated"]}["aten.convolution"] == 2
        refused = {each["operator"]: each for each in method["not_delegated"]}
        assert refused["aten._fft_r2c"]["reason"].startswith("Not included in ")
        assert all(each["reason"] for each in refused.values())
        kernels = {each["operator"]: each["count"] for each in method["kernels"]}
        assert kernels["aten::_fft_r2c.out"] == 1
        assert sum(each["count"] for each in method["not_delegated"]) == sum(kernels.values())
        assert method["planned_bytes"][0] > 0
        assert method["calibration"]["samples"] == 1
        assert [each["cycles"] > 0 for each in found["vela_estimates"]] == [True, True]
        assert [(gate["name"], gate["passed"]) for gate in found["gates"]] == [("min_delegation", True)]

    def test_what_others_say_goes_to_the_log(self, everything: Any) -> None:
        folder, _, said = everything
        log = (folder / "build.log").read_text()
        assert "Network summary for out" in log
        assert said.count("\n") == 1
        assert said.startswith("warning: ETHOSU_U55_INT8: calibrated on one sample only")

    def test_the_quantization(self, everything: Any) -> None:
        _, document, _ = everything
        method = document["quantization"]["methods"]["forward"]
        specs = {spec["name"]: spec for spec in method["specs"]}
        assert len({spec["text"] for spec in specs.values()}) == len(specs)
        nodes = {node["name"]: node for node in method["nodes"]}
        inputs = {each["argument"]: specs[each["spec"]] for each in nodes["conv2d"]["inputs"]}
        assert inputs["weight"]["attributes"] == {
            "dtype": "int8",
            "observer_or_fake_quant_ctr": inputs["weight"]["attributes"]["observer_or_fake_quant_ctr"],
            "quant_min": -127,
            "quant_max": 127,
            "qscheme": "per_channel_symmetric",
            "ch_axis": 0,
            "is_dynamic": False,
        }
        assert inputs["weight"]["text"].startswith("int8, -127..127, per channel symmetric, axis 0, static, PerChannel")
        assert inputs["bias"]["kind"] == "DerivedQuantizationSpec"
        assert "derived from x -> conv2d and " in inputs["bias"]["text"]
        assert ["conv2d", "relu"] in method["patterns"]
        assert "fft_rfft" in method["not_quantized"]


def test_what_is_printed(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert group.main(["export", "model.py", "-r", "ethosu-u85-int8", "-o", "macs=512", "--output", "new/net.pte"]) == 0
    said = capsys.readouterr()
    assert re.search(r"Delegated: \d+ operators in 2 subgraphs of EthosUBackend, [\d,]+ \+ [\d,]+ bytes", said.out)
    assert "count  operator" in said.out
    assert "    1  aten._fft_r2c" in said.out
    assert "Kernels that the runtime must have" in said.out
    vela = metadata.version("ethos-u-vela")
    assert f"Vela {vela}'s estimates of the delegated subgraphs (computed, not measured)\n" in said.out
    assert "Calibrated on 1 sample: example inputs" in said.out
    size = (folder / "new/net.pte").stat().st_size
    assert f"ETHOSU_U85_INT8 on ethos-u85-512: {size:,} bytes: " in said.out
    assert said.out.endswith("\nnew/net.pte\n")
    assert "\x1b" not in said.out
    assert "Network summary" not in said.out + said.err
    assert [line for line in said.out.splitlines() if len(line) > 80] == []


def test_reports_gates_and_a_bundle_of_integers(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reports = "--report r.html --report out/r.json --report r.txt"
    line = f"export model.py:small -r tosa-int8 -o io_dtype=int8 --output x.pte --bundle {reports}"
    assert group.main([*line.split(), "--min-delegation", "50", "--max-flash", "0.5"]) == 3
    said = capsys.readouterr()
    figure = (folder / "x.pte").stat().st_size / 1024
    assert f"gate FAILED: size of the .pte in KiB, at most 0.5: {figure:.6g}" in said.err.splitlines()
    assert "Gate passed: operators delegated in percent, at least 50: 100" in said.out.splitlines()
    assert (folder / "r.html").read_text().startswith("<!doctype html>")
    assert "<title>small: TOSA_INT8 on TOSA-1.0+INT</title>" in (folder / "r.html").read_text()
    found = json.loads((folder / "out/r.json").read_text())
    assert found["failed_gates"] == ["max_flash"]
    assert (folder / "r.txt").read_text().splitlines()[-1].startswith("TOSA_INT8 on TOSA-1.0+INT: ")
    assert group.main(line.split()) == 2
    assert "x.pte, x.bpte, r.html, out/r.json, r.txt: already there." in capsys.readouterr().err

    bundle = deserialize_from_flatbuffer_to_bundled_program((folder / "x.bpte").read_bytes())
    (case,) = bundle.method_test_suites[0].test_cases
    assert len(case.inputs[0].val.data) == 3
    assert len(case.expected_outputs[0].val.data) == 2


def test_calibration_data_is_used(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "data").mkdir()
    for index in range(5):
        np.save(folder / f"data/{index}.npy", np.full((1, 3), index, dtype=np.float32))
    line = "export model.py:training -r tosa-int8 --force"
    assert group.main([*line.split(), "--calibration", "data", "--max-samples", "3"]) == 0
    said = capsys.readouterr()
    assert "Calibrated on 3 samples: folder data (3 of 5 files, seed 0)" in said.out
    # A plain UserWarning, from a room below.
    assert said.err.startswith("warning: The model of method 'forward' is in training mode.")
    assert group.main([*line.split(), "-o", "calibration=data"]) == 0
    assert "Calibrated on 5 samples: folder data (5 files)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "status", "message"),
    [
        (
            "model.py:net -r tosa-fp",
            2,
            "error: model='model.py:net' has no example inputs. Give --shape once per input",
        ),
        ("model.py:nett -r tosa-fp", 2, "error: model='model.py:nett': model.py has no 'nett'."),
        ("model.py:small -r tosa-int8 --calibration no", 2, "error: no: no such file or folder."),
        (
            "model.py:small -r tosa-fp --shape 1x4",
            2,
            "error: The model of method 'forward' itself fails on its example",
        ),
        ("model.py:branches -r tosa-fp", 1, "error: the compile failed: "),
        ("model.py:unsupported -r tosa-int8", 2, "error: TOSA_INT8: "),
        ("model.py:interrupted -r tosa-int8", 130, "interrupted; no file is left half-written"),
    ],
)
def test_failures_leave_nothing(
    line: str, status: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert group.main(["export", *line.split(), "--output", "build", "--bundle"]) == status
    said = capsys.readouterr()
    assert any(line.startswith(message) for line in said.err.splitlines())
    assert said.out == ""
    assert "Traceback" not in said.err
    assert "GraphModule" not in said.err
    assert not (folder / "build").exists()


def test_a_refused_program_comes_with_the_reasons(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "fft.py").write_text(
        "import torch\nclass F(torch.nn.Module):\n    def forward(self, x): return torch.fft.rfft(x)\nmodel = F()\n"
    )
    assert group.main(["export", "fft.py", "-r", "tosa-fp", "--shape", "1x8"]) == 2
    said = capsys.readouterr().err
    assert "no operator was delegated to tosa" in said
    assert "  aten._fft_r2c: Not included in " in said
    assert "schema" not in said


def test_a_bug_shows_its_traceback(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(session: object, **how: object) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(build, "report", broken)
    with pytest.raises(TypeError, match="a bug"):
        group.main(["export", "model.py:small", "-r", "tosa-fp"])


_PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
_LINES = re.findall(r"^arm-recipes (export .*)$", _PAGE.partition("## From executorch's script")[2], re.MULTILINE)


@pytest.mark.no_cover
@pytest.mark.parametrize("line", _LINES)
def test_the_lines_for_users_of_executorchs_script(line: str, folder: Path) -> None:
    (folder / "model.py").write_text(
        "import torch\nModelUnderTest = torch.nn.Conv2d(3, 4, 3).eval()\nModelInputs = (torch.randn(1, 3, 8, 8),)\n"
    )
    (folder / "board.ini").write_text(_BOARD)
    torch.save((torch.randn(1, 3, 4, 4),), folder / "input.pt")
    (folder / "data").mkdir()
    torch.save(torch.randn(1, 3, 8, 8), folder / "data/0.pt")
    assert group.main(shlex.split(line)) == 0
    assert len(list(folder.rglob("*.pte"))) == 1


def test_there_are_such_lines() -> None:
    assert len(_LINES) >= 11
