"""What runs .vgf files on this machine: Arm's scenario runner and emulation layer, and Mesa. No torch here.

Where the system's Vulkan loader and Mesa are older than 1.4 and 25, another Linux tree that has them serves: its folder
goes into the environment variable ARM_RECIPES_VULKAN_ROOT (see docs/verify.md).
"""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from arm_recipes.errors import ToolError

ROOT = "ARM_RECIPES_VULKAN_ROOT"

_INSTALL = "pip install 'arm_recipes[vulkan]'"
_LAYERS = "VK_LAYER_ML_Graph_Emulation:VK_LAYER_ML_Tensor_Emulation"


def find_vgf_dump() -> Path:
    """The VGF library's program that describes a .vgf file.

    Raises:
        ToolError: it is not installed.
    """
    return _executable("vgf_lib", "vgf_dump")


def find_scenario_runner() -> tuple[list[str], dict[str, str]]:
    """The command that runs a scenario, and its environment.

    Raises:
        ToolError: it is not installed, or ARM_RECIPES_VULKAN_ROOT names no tree that has Mesa.
    """
    runner = _executable("scenario_runner", "scenario-runner")
    deployed = _package("emulation_layer") / "deploy"
    libraries = [str(deployed / "lib")]
    environment = {
        **os.environ,
        "VK_LAYER_PATH": str(deployed / "share" / "vulkan" / "explicit_layer.d"),
        "VK_INSTANCE_LAYERS": _LAYERS,
    }
    root = os.environ.get(ROOT)
    if root is None:
        environment["LD_LIBRARY_PATH"] = os.pathsep.join([*libraries, environment.get("LD_LIBRARY_PATH", "")])
        return [str(runner)], environment
    tree = Path(root)
    loader = next((path for pattern in ("lib64/ld-linux-*", "lib/ld-linux-*") for path in tree.glob(pattern)), None)
    drivers = sorted((tree / "usr/share/vulkan/icd.d").glob("lvp_icd*.json"))
    if loader is None or not drivers:
        raise ToolError(
            f"{ROOT}={root!r} is no Linux tree with Mesa's llvmpipe in it. Make one, e.g.: debootstrap "
            "--variant=minbase --include=libvulkan1,mesa-vulkan-drivers,libstdc++6 trixie FOLDER"
        )
    # Its own dynamic loader takes all of the tree's libraries, and none of the system's.
    libraries = [*map(str, tree.glob("usr/lib/*-linux-gnu")), *libraries]
    environment["VK_DRIVER_FILES"] = str(drivers[0])
    return [str(loader), "--library-path", os.pathsep.join(libraries), str(runner)], environment


def _package(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ToolError(f"Running .vgf files needs the Python package {name}, which is not installed. {_INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)))


def _executable(package: str, name: str) -> Path:
    found = _package(package) / "binaries" / "bin" / name
    if not found.is_file():
        raise ToolError(f"The Python package {package} brings no {name} for this system. {_INSTALL}")
    return found
