"""The only place that touches private names of executorch, torchao and torch."""

from importlib.util import find_spec

from arm_recipes.errors import ToolError

for _name in ("tosa_serializer", "tosa"):
    if find_spec(_name) is None:
        raise ToolError(
            "Arm's package tosa-tools, which executorch imports for all of its Arm targets, is not here: no module "
            f"named {_name!r}. Install it with: pip install 'executorch[ethos-u]'"
        )
