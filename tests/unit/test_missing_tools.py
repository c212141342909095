"""Where a tool is missing, the recipe that needs it says how to install it."""

from __future__ import annotations

import sys

import pytest

from arm_recipes import catalog, options
from arm_recipes.errors import ToolError


@pytest.mark.parametrize("name", ["ETHOSU_U55_INT8", "ETHOSU_U85_A16W8"])
def test_vela(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ethosu.vela", None)  # what makes an import fail
    with pytest.raises(ToolError) as caught:
        options.resolve(catalog.BY_NAME[name], {})
    assert str(caught.value).startswith("Ethos-U recipes need Arm's Vela compiler, which can't be imported here (")
    assert str(caught.value).endswith("Install it with: pip install 'executorch[ethos-u]'")


def test_the_others_do_without_vela(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ethosu.vela", None)
    options.resolve(catalog.BY_NAME["TOSA_INT8"], {})
    options.resolve(catalog.BY_NAME["VGF_FP"], {})
