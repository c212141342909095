"""The oracle: executorch's own aot_arm_compiler, run in this process."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

_MODEL_FILE = """
import {module}
ModelUnderTest, ModelInputs = {module}.{call}
"""


def compile_with_script(factory: str, target: str, folder: Path, *flags: str) -> bytes:
    """Compile with the script and return the .pte.

    Args:
        factory: ``module:function`` that gives the model and its inputs, e.g. ``tests.models:conv_net``, with its
            arguments where it takes any, e.g. ``tests.device_networks:example('fails: roll')``.
        target: as the script's ``-t`` takes it.
        folder: for the files in between.
        flags: further flags, e.g. ``-d``, ``-q``.
    """
    module, _, function = factory.partition(":")
    model_file = folder / "model.py"
    call = function if function.endswith(")") else f"{function}()"
    model_file.write_text(_MODEL_FILE.format(module=module, call=call))
    output = folder / "script.pte"
    arguments = ["aot_arm_compiler", "-m", str(model_file), "-t", target, "-o", str(output), *flags]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", arguments)
        runpy.run_module("executorch.backends.arm.scripts.aot_arm_compiler", run_name="__main__")
    return output.read_bytes()
