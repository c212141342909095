"""Which instructions CMSIS-NN can use on which Cortex-M core, asked of executorch's own table. No torch here.

That table (`executorch.backends.cortex_m.target_config`) loads in a few hundredths of a second and without torch, so
nothing of it is restated. Importing this module needs no executorch; its functions raise `ToolError` without it.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from arm_recipes.errors import ToolError

if TYPE_CHECKING:
    from executorch.backends.cortex_m.target_config import CortexMTargetConfig


@cache
def isas(target: str) -> tuple[str, ...]:
    """The instruction sets that CMSIS-NN can use on `target` (``cortex-m33``), the fastest first."""
    return tuple(name for name in _backends() if _runs(target, name))


@cache
def default_isa(target: str) -> str:
    """The instruction set that executorch chooses for `target`."""
    name: str = target_config(target).backend.name
    return name


def target_config(target: str, isa: str | None = None) -> CortexMTargetConfig:
    """Make executorch's description of `target`; where `isa` is None, with the instruction set of its choice.

    Raises:
        ToolError: executorch or its build of CMSIS-NN's sizing functions is missing.
        ValueError: CMSIS-NN can't use `isa` on that core.
    """
    backends = _backends()
    from executorch.backends.cortex_m.target_config import CortexMTargetConfig

    config = CortexMTargetConfig.from_target_string(target)
    return config if isa is None else CortexMTargetConfig(cpu=config.cpu, isa=backends[isa])


def _runs(target: str, isa: str) -> bool:
    try:
        target_config(target, isa)
    except ValueError:
        return False
    return True


def _backends() -> dict[str, object]:
    try:
        from executorch.backends.cortex_m.library import cmsis_nn

        # Without the compiled module executorch puts stand-ins in its place, which can't size a buffer.
        members: dict[str, object] = cmsis_nn.Backend.__members__
    except (ImportError, AttributeError) as error:
        raise ToolError(
            f"Cortex-M recipes need the CMSIS-NN module of executorch, which can't be used here ({error}). "
            "Install it with: pip install 'executorch>=1.5.1,<1.6'; its wheels hold the module."
        ) from error
    return dict(members)
