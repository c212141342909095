"""`export` with a cache: what comes from it, what is part of its key, and what is asked for beyond it."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from executorch.export import ExportRecipe, ExportSession, StageType
from torch import nn
from torch.utils.data import DataLoader

from arm_recipes import ArmRecipeType, CalibrationWarning, ModelError, check, export, report, verify
from arm_recipes.recipes import catalog, options
from arm_recipes.session import keys
from arm_recipes.tools import versions
from arm_recipes.upstream.cached_session import taken_from_cache
from tests import models
from tests.exports import exported, random_samples

_INT8, _FP = ArmRecipeType.TOSA_INT8, ArmRecipeType.TOSA_FP


def _export(folder: Path, recipe: ArmRecipeType = _INT8, **changed: Any) -> ExportSession:
    model, inputs = models.conv_net()
    given = {"example_inputs": inputs, "progress": False, "cache_dir": folder, **changed}
    return export(given.pop("model", model), recipe, **given)


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with conv_net for TOSA_INT8, and its report."""
    folder = tmp_path_factory.mktemp("cache")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        session = _export(folder)
    assert not taken_from_cache(session)
    report(session)
    return folder


def test_the_same_again_comes_from_the_cache(filled: Path, tmp_path: Path) -> None:
    made = exported(_INT8)
    with pytest.warns(CalibrationWarning, match="calibrated on one sample only"):
        session = _export(filled)
    assert session.get_pte_buffer() == made.get_pte_buffer()
    told = report(session, max_flash=1)
    assert told.to_json() == report(made, max_flash=1).to_json()
    assert [gate.passed for gate in told.gates] == [False]
    assert [each.right for each in check(session).methods] == [True]
    session.save_to_pte(str(tmp_path / "net"))
    assert (tmp_path / "net.pte").read_bytes() == made.get_pte_buffer()
    assert taken_from_cache(session)


@pytest.mark.parametrize(
    "more",
    [
        lambda session: session.get_edge_program_manager(),
        lambda session: session.get_executorch_program().execution_plan[0],
        lambda session: session.get_stage_artifacts()[StageType.TORCH_EXPORT],
        lambda session: verify(session, random_samples(models.conv_net(), 1)).gates[0].passed,
        lambda session: check(session, random_samples(models.conv_net(), 1)).methods[0].right,
    ],
    ids=["edge program", "program", "artifacts", "verify", "check of other samples"],
)
@pytest.mark.filterwarnings("ignore::arm_recipes.CalibrationWarning")
def test_more_is_exported_for(filled: Path, more: Callable[[ExportSession], object]) -> None:
    session = _export(filled)
    assert taken_from_cache(session)
    assert more(session)
    assert not taken_from_cache(session)
    assert session.get_pte_buffer() == exported(_INT8).get_pte_buffer()


@pytest.mark.filterwarnings("ignore::arm_recipes.CalibrationWarning")
def test_a_model_that_was_changed_since_is_told(filled: Path) -> None:
    model, _ = models.conv_net()
    session = _export(filled, model=model)
    with torch.no_grad():
        next(model.parameters()).add_(1)
    with pytest.raises(ModelError, match="exporting it now gives another one"):
        session.get_edge_program_manager()


@pytest.mark.filterwarnings("ignore::arm_recipes.CalibrationWarning")
def test_a_damaged_program_is_made_anew(tmp_path: Path) -> None:
    program = _export(tmp_path, _FP).get_pte_buffer()
    (file,) = tmp_path.glob("*/program.pte")
    kept = file.read_bytes()
    file.write_bytes(kept[:-8] + bytes(8))
    session = _export(tmp_path, _FP)
    assert not taken_from_cache(session)
    assert session.get_pte_buffer() == program
    assert file.read_bytes() == kept


def test_the_variable_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = models.linear()
    monkeypatch.setenv("ARM_RECIPES_CACHE", str(tmp_path))
    assert [taken_from_cache(export(model, _FP, inputs, progress=False)) for _ in range(2)] == [False, True]
    # Of these the key would not hold all.
    assert type(export(model, ExportRecipe.get_recipe(_FP), inputs, progress=False)) is ExportSession
    assert type(export(model, _FP, inputs, progress=False, generate_etrecord=True)) is ExportSession


class _Shuffled:
    """Samples that are other ones in each pass."""

    def __init__(self) -> None:
        self.passes = 0

    def __iter__(self) -> Any:
        self.passes += 1
        return iter([(torch.full((1, 16), float(self.passes)),)] * 2)


def test_data_that_changes_is_not_kept(tmp_path: Path) -> None:
    model, inputs = models.linear()
    for _ in range(2):
        session = export(model, _INT8, inputs, calibration=_Shuffled(), progress=False, cache_dir=tmp_path)
        assert not taken_from_cache(session)
    assert list(tmp_path.glob("*/program.pte")) == []


def test_shuffled_data_is_the_same_for_one_state_of_the_generator(tmp_path: Path) -> None:
    model, inputs = models.linear()
    loader = DataLoader([torch.randn(16) for _ in range(8)], shuffle=True)  # type: ignore[var-annotated, arg-type]
    before = torch.get_rng_state()
    sessions = [export(model, _INT8, inputs, calibration=loader, progress=False, cache_dir=tmp_path) for _ in range(2)]
    assert list(map(taken_from_cache, sessions)) == [False, True]
    assert torch.equal(torch.get_rng_state(), before)


class _Uncaptured(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.sum() > 0 else -x


def test_what_cant_be_captured_is_refused_as_ever(tmp_path: Path) -> None:
    inputs = (torch.zeros(1, 4),)
    told = []
    for folder in (None, tmp_path):
        with pytest.raises(RuntimeError) as refusal:
            export(_Uncaptured(), _FP, inputs, progress=False, cache_dir=folder)
        told.append((type(refusal.value), str(refusal.value)))
    assert told[0] == told[1]
    assert list(tmp_path.iterdir()) == []


# The key, without an export.


class _Net(nn.Module):
    def __init__(self, name: str = "dense", weight: float = 0.5, slope: float = 0.1) -> None:
        super().__init__()
        layer = nn.Linear(4, 4)
        with torch.no_grad():
            layer.weight.fill_(weight)
            layer.bias.zero_()
        self.add_module(name, layer)
        self.layer, self.slope = [layer], slope

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.leaky_relu(self.layer[0](x), self.slope)


def _key(
    row: str = "ETHOSU_U55_INT8",
    model: nn.Module | None = None,
    sample: torch.Tensor | None = None,
    others: dict[str, Any] | None = None,
    **chosen: Any,
) -> str:
    recipe = catalog.BY_NAME[row]
    model = _Net() if model is None else model
    inputs = {"forward": [(torch.ones(1, 4) if sample is None else sample,)]}
    return keys.key_of(recipe, options.resolve(recipe, chosen), {"forward": model}, inputs, others or {"check": True})


_SAME = """
from tests.session.test_cached import _key
print(_key())
"""


def test_any_process_has_the_same_key() -> None:
    printed = subprocess.run(
        [sys.executable, "-c", _SAME], capture_output=True, text=True, check=True, env=_environment("7")
    )
    assert printed.stdout.split()[-1] == _key() == _key(model=_Net().train())


def _environment(seed: str) -> dict[str, str]:
    return {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[2])}


_OTHERS: dict[str, dict[str, Any]] = {
    "a weight": {"model": _Net(weight=0.25)},
    "a number in the graph": {"model": _Net(slope=0.2)},
    "a module's name": {"model": _Net(name="head")},
    "a sample's value": {"sample": torch.full((1, 4), 2.0)},
    "a sample's shape": {"sample": torch.ones(2, 4)},
    "a sample's memory": {"sample": torch.ones(4, 1).t()},
    "the recipe": {"row": "ETHOSU_U65_INT8"},
    "an option": {"macs": 256},
    "whether it is checked": {"others": {"check": False}},
    "a constant method": {"others": {"check": True, "constants": {"version": 1}}},
}


@pytest.mark.parametrize("changed", _OTHERS.values(), ids=_OTHERS)
def test_the_key_has(changed: dict[str, Any]) -> None:
    assert _key(**changed) != _key()
    assert _key(**changed) == _key(**changed)


def test_the_key_has_the_versions(monkeypatch: pytest.MonkeyPatch) -> None:
    before = _key()
    monkeypatch.setattr(versions, "installed", lambda: {"torch": "2.13.1"})
    assert _key() != before


def test_the_key_has_what_is_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "vela.ini"
    found = []
    for clock in ("500e6", "250e6"):
        file.write_text(
            f"[System_Config.Mine]\ncore_clock={clock}\naxi0_port=Sram\naxi1_port=OffChipFlash\n"
            "Sram_clock_scale=1.0\nOffChipFlash_clock_scale=0.125\n"
            "[Memory_Mode.Mine]\nconst_mem_area=Axi1\narena_mem_area=Axi0\ncache_mem_area=Axi0\n"
        )
        found.append(_key(config_ini=str(file), system_config="Mine", memory_mode="Mine"))
    assert found[0] != found[1]


def test_a_value_of_unknown_content_has_no_key() -> None:
    with pytest.raises(keys.NoKeyError, match="an argument is of type object"):
        _key(others={"constants": {"handle": object()}})
