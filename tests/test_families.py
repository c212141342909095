"""The markers of the families select every test that exports for the family."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from arm_recipes.recipes import catalog
from tests.exports import exported
from tests.families import reached

_FAMILIES = {family.value for family in catalog.Family}

# They give what is no Arm recipe to something that exports, or export nothing.
_OF_NO_FAMILY = (
    "test_another_recipe",
    "test_refused[recipes0-",
    "test_refused[u55-",
    "test_a_session_s_getters_read_its_artifacts",  # which reads, as the next does,
    "test_the_session_s_model_is_private",  # executorch's source
)


def _tests(request: pytest.FixtureRequest) -> list[pytest.Function]:
    """Every test of this run, which are all unless some were selected."""
    return [item for item in request.session.items if isinstance(item, pytest.Function)]


def _marks(item: pytest.Item) -> set[str]:
    return {marker.name for marker in item.iter_markers()}


def test_every_test_that_exports_is_marked_with_a_family(request: pytest.FixtureRequest) -> None:
    unmarked = [item.nodeid for item in _tests(request) if reached(item).exports and not _FAMILIES & _marks(item)]
    assert [name for name in unmarked if not any(known in name for known in _OF_NO_FAMILY)] == []


@pytest.mark.parametrize("given", [catalog.BY_NAME["VGF_FP"], "VGF_FP", "export -r vgf-fp", ["arm_vgf_fp"]])
def test_a_recipe_is_seen_in_every_form(given: object, request: pytest.FixtureRequest) -> None:
    assert reached(request.node) == (frozenset({catalog.Family.VGF}), False)


def _helper() -> None:
    exported("TOSA_FP")


@pytest.mark.parametrize("call", [_helper])
def test_an_export_is_seen_behind_helpers(call: object, request: pytest.FixtureRequest) -> None:
    assert reached(request.node) == (frozenset({catalog.Family.TOSA}), True)


def test_some_exports_of_each_family_are_quick(request: pytest.FixtureRequest) -> None:
    """So that `-m "not slow"`, which is what most versions of Python run, says something of each family."""
    if len(_tests(request)) < 1000:
        pytest.skip("only some tests were selected")
    quick = [item for item in _tests(request) if reached(item).exports and "slow" not in _marks(item)]
    assert set().union(*map(_marks, quick)) >= _FAMILIES


def test_the_workflow_runs_all_tests_of_every_family_and_all_that_are_quick() -> None:
    workflow = yaml.safe_load((Path(__file__).parents[1] / ".github/workflows/ci.yml").read_text(encoding="utf-8"))
    assert set(workflow["jobs"]["tests"]["strategy"]["matrix"]["tests"]) == {*_FAMILIES, "not slow"}
