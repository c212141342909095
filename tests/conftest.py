"""Marks every test with the families whose recipes it is about, so that `-m ethos_u` runs all the family's tests; and
fails what would be skipped for want of a thing in the environment variable ARM_RECIPES_REQUIRE, e.g. chromium,vulkan.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import runpy
import sys
import warnings
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, settings

import arm_recipes
from arm_recipes.recipes import catalog
from tests.families import group_of, reached

if "PYTEST_XDIST_WORKER" in os.environ:
    # Before torch is imported. Workers with all cores each wait for one another: up to ten times as long.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


for _profile, _examples in (("quick", 155), ("long", 3800)):
    # Always the same ones, so that a change of the code is what makes a test fail; a clock never does.
    settings.register_profile(
        _profile,
        max_examples=_examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the files of tests/reporting/golden anew")


def pytest_configure(config: pytest.Config) -> None:
    # An export makes so many objects that the collector takes a sixth of its time.
    gc.set_threshold(100_000, 20, 50)
    config.addinivalue_line("markers", "needs(name): skipped where there is no such thing, if it is not required")
    config.addinivalue_line("markers", "slow: takes seconds, as all tests do that export and are not marked quick")
    config.addinivalue_line("markers", "quick: exports, and is for the run of two minutes (-m 'not slow') all the same")
    for family in catalog.Family:
        config.addinivalue_line("markers", f"{family.value}: tests of the recipes of this family")


def pytest_collection_finish() -> None:
    if "coverage" in sys.modules and sys.modules["coverage"].Coverage.current():
        # A module that is first imported in a test that is no_cover would never have its definitions measured.
        for module in pkgutil.walk_packages(arm_recipes.__path__, "arm_recipes."):
            if not module.name.endswith("__main__") and ".worker." not in module.name:
                importlib.import_module(module.name)
    gc.collect()
    gc.freeze()  # torch and executorch, which the tests' modules have imported, stay
    if "torch" in sys.modules:
        # Also for sessions of executorch's own; tests/upstream/test_savings.py shows that nothing comes out different.
        from arm_recipes.upstream import savings

        _saving.enter_context(savings.once())


_saving = contextlib.ExitStack()


def pytest_unconfigure() -> None:
    _saving.close()


# Coverage doubles the time of an export, nearly all of which is in executorch. Of a test's cases that export, it is
# measured in the first, as the others run the same code, but on the command line, where each is another line: that
# costs 0.1 % of what is covered (by contexts). Tests of which all is run elsewhere are marked no_cover by hand.
_OF_CASES_THAT_DIFFER = "tests/cli/"
_COVERED_ELSEWHERE = (
    "tests/checking/test_check.py",
    "tests/checking/test_right.py",
    "tests/lowering/test_a16w8.py",
    "tests/lowering/test_cortex_m.py",
    "tests/lowering/test_upstream_borders.py",
    "tests/reporting/test_report.py",
    "tests/session/test_calls.py",
    "tests/session/test_export.py",
    "tests/session/test_threads.py",
    "tests/upstream/test_histogram_search.py",
    "tests/upstream/test_savings.py",
)


def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    seen: set[str] = set()
    for item in items:
        families, exports = reached(item)
        for family in families:
            item.add_marker(family.value)
        if exports and item.get_closest_marker("quick") is None:
            item.add_marker("slow")
        test = item.nodeid.partition("[")[0]
        covered = test in seen and not test.startswith(_OF_CASES_THAT_DIFFER)
        if exports and (covered or test.startswith(_COVERED_ELSEWHERE)):
            item.add_marker("no_cover")
        seen.add(test)
    if "PYTEST_XDIST_WORKER" in os.environ:  # The long ones first, so that no worker is left with one at the end.
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Of several workers, one runs a file, or what shares exports (`group_of`); the long ones first."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return group_of(nodeid)

    config.option.loadscopereorder = False
    return Groups(config, log)


# Tests that start a Python of their own, in which measuring would take as long as what is tested.
_START_PROCESSES = (
    "tests/test_",
    "tests/recipes/test_options.py",
    "tests/reporting/test_golden.py",
    "tests/samples/test_calibration.py",
    "tests/sweeping/test_dask.py",
    "tests/tools/test_missing_tools.py",
    "tests/tools/test_upstream_vela.py",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    with pytest.MonkeyPatch.context() as patch:
        if item.nodeid.startswith(_START_PROCESSES):
            patch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
        return (yield)


@contextlib.contextmanager
def _not_measured(item: pytest.Item) -> Iterator[None]:
    """What is below pytest-cov's measurement, which it pauses by itself in a test that is no_cover: each worker's own;
    and all of it in fixtures. Both at once would start it twice, and then one stop is not enough."""
    paused = []
    if item.get_closest_marker("no_cover") is not None and "coverage" in sys.modules:
        while measurement := sys.modules["coverage"].Coverage.current():
            measurement.stop()
            paused.append(measurement)
    try:
        yield
    finally:
        for measurement in reversed(paused):
            measurement.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, None, None]:
    with _not_measured(item):
        return (yield)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    with _not_measured(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    needs = {marker.args[0] for marker in item.iter_markers("needs")}
    if report.skipped and needs & set(os.environ.get("ARM_RECIPES_REQUIRE", "").split(",")):
        report.outcome = "failed"
        report.longrepr = f"{report.longrepr}, and ARM_RECIPES_REQUIRE asks for it"
    return report


class Digits(NamedTuple):
    """Of docs/examples/digits.py: the network, trained, which tests leave as it is, and the data."""

    model: Any
    train: Any
    test: Any
    accuracy: Callable[..., float]


@pytest.fixture(scope="session")
def digits() -> Digits:
    example = runpy.run_path(str(Path(__file__).parents[1] / "docs/examples/digits.py"), run_name="digits")
    train, test = example["load"]()
    return Digits(example["trained"](), train, test, example["accuracy"])


@pytest.fixture
def update_golden(request: pytest.FixtureRequest) -> bool:
    """Whether files are to be written anew, and not only compared."""
    return bool(request.config.getoption("--update-golden"))


@pytest.fixture
def one_sample_is_enough() -> Iterator[None]:
    """Mutes the warning of a model that is calibrated on its example inputs only, as most are in tests."""
    from arm_recipes import CalibrationWarning  # which imports torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        yield
