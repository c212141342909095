"""What an exception of executorch's lowering tells: its innermost cause, in its words, and a place in the model."""

from __future__ import annotations

import errno
import subprocess
import tempfile
import traceback
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram
from torch.fx import GraphModule, Node
from torchao.quantization.pt2e import ObserverBase

from arm_recipes.tools.processes import Finished, how_it_ended

from .graphs import is_operator, module_path, operator_name, quantizes, stack_path, where
from .private import HigherOrderOperator

# Names that passes give to the node, or the node's meta, that they are at.
_NODES = ("node", "n", "conv_node", "mul_node")
_LOWERING = ("/executorch/backends/", "/executorch/exir/", "/ethosu/vela/")
_PLACES = 5
# Words for an operator that Vela and TOSA share.
_KINDS = ("conv", "matmul", "pool", "resize", "transpose", "table", "reduce", "gather", "concat", "pad", "slice")
# A disk that is full or can't be written to, too many open files: nothing that the model or the recipe could change.
_OF_THE_MACHINE = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.EIO,
}
_PACKAGE = Path(__file__).parents[1]


def chain(error: BaseException) -> list[BaseException]:
    """The exception and those that it was raised from, the innermost last."""
    links = [error]
    while (cause := error.__cause__ or (None if error.__suppress_context__ else error.__context__)) is not None:
        links.append(cause)
        error = cause
    return links


def words(error: BaseException) -> str:
    """An exception's type and message: its first line, and which node was executed where that is told. Of a program
    that failed, its last words."""
    if isinstance(error, subprocess.CalledProcessError):
        finished = Finished(error.returncode, _text(error.stdout) + _text(error.stderr))
        return f"{error.cmd[0]}, which {finished.end}: {finished.last_words(1)}"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    told = [line for index, line in enumerate(lines) if index == 0 or line.startswith("While executing")]
    return f"{type(error).__name__}: {'; '.join(told) or 'without a message'}"


def _text(output: bytes | str | None) -> str:
    return output.decode(errors="backslashreplace") if isinstance(output, bytes) else output or ""


def from_lowering(error: BaseException) -> bool:
    """Whether it, or what it was raised from, went through executorch's own passes and backends, or Vela: as opposed to
    an error of the model's code, of torch.export, or of ours."""
    files = [frame.filename for link in chain(error) for frame in traceback.extract_tb(link.__traceback__)]
    lowers = any(part in Path(file).as_posix() for file in files for part in _LOWERING)
    return lowers and not Path(files[-1]).is_relative_to(_PACKAGE)


def of_this_machine(error: BaseException) -> str | None:
    """What this machine refused the export: memory, a file, e.g. as its disk is full, or a tool that works; None where
    it is no such."""
    innermost = chain(error)[-1]
    if isinstance(innermost, MemoryError):
        return f"this machine has not the memory for it ({words(innermost)}). Free some, or take a smaller model."
    if isinstance(innermost, subprocess.CalledProcessError) and innermost.returncode < 0:
        end = how_it_ended(innermost.returncode)
        return f"{innermost.cmd[0]} {end}. Is it the one that you want? arm-recipes doctor looks at it."
    if not isinstance(innermost, OSError):
        return None
    if isinstance(innermost, FileNotFoundError) and from_lowering(error):
        made = Path(str(innermost.filename))
        if made.is_relative_to(tempfile.gettempdir()):
            return (
                f"the tool that makes {made.name} wrote none, and did not say why. arm-recipes doctor looks at tools."
            )
    if innermost.errno not in _OF_THE_MACHINE:
        return None
    place = f"{innermost.filename}: " if innermost.filename else ""
    return (
        f"this machine refuses a file: {place}{innermost.strerror}. Temporary files are in {tempfile.gettempdir()}: "
        "free some space there, or set TMPDIR to a folder that has it."
    )


def not_finite(error: BaseException) -> str | None:
    """The operator of the model, and its module, whose value an observer refused as it is NaN or infinite; None where
    that is not what happened."""
    if "is not finite" not in str(chain(error)[-1]):
        return None
    selves = [local.get("self") for local in _locals(error)]
    observer = next((each for each in selves if isinstance(each, ObserverBase)), None)
    for module in (each for each in selves if isinstance(each, GraphModule)):
        for node in module.graph.nodes:
            if node.op == "call_module" and module.get_submodule(str(node.target)) is observer:
                source = node.all_input_nodes[0]
                return where(source) if source.op == "call_function" else f"the input {source.name}"
    return None


def control_flow(error: BaseException) -> str | None:
    """The control flow that was run when a prepared or converted model failed, e.g. ``while_loop``; None for none."""
    for local in _locals(error):
        module = local.get("self")
        for node in module.graph.nodes if isinstance(module, GraphModule) else ():
            if isinstance(node.target, HigherOrderOperator):
                return str(node.target.__name__)
    return None


def place(error: BaseException) -> str | None:
    """Operator of the user's model, and its module, that a pass was at; of a compiler's error, where the delegate's
    operators come from. None where neither is known.

    A pass says it nowhere: it is read from the variables of the frames that the exception went through.
    """
    # Upstream: ArmPass tells no place in an error. Holds for executorch 1.5.1;
    # tests/session/test_failures.py::test_a_pass_s_error_tells_no_place fails when it can go.
    for local in _locals(error):
        for name in _NODES:
            node = local.get(name)
            if isinstance(node, Node) and is_operator(node):
                return where(node)
        meta = getattr(local.get("meta"), "data", None)
        if isinstance(meta, dict) and stack_path(meta.get("nn_module_stack") or {}):
            return f"an operator of {stack_path(meta['nn_module_stack'])}"
    programs = [local.get("edge_program") for local in _locals(error)]
    program = next((each for each in programs if isinstance(each, ExportedProgram)), None)
    if program is None:
        return None
    nodes = [node for node in program.graph.nodes if is_operator(node) and not quantizes(node)]
    told = str(chain(error)[-1]).lower()
    named = [node for node in nodes if any(kind in told and kind in operator_name(node).lower() for kind in _KINDS)]
    modules = list(dict.fromkeys(filter(None, map(module_path, named or nodes))))
    more = f" and {len(modules) - _PLACES} more" if len(modules) > _PLACES else ""
    return f"the delegate's part from {', '.join(modules[:_PLACES])}{more}" if modules else None


def _locals(error: BaseException) -> list[dict[str, Any]]:
    """The variables of the frames that led to the innermost exception, the innermost frame first."""
    frames = []
    for link in chain(error):
        step = link.__traceback__
        while step is not None:
            frames.append(dict(step.tb_frame.f_locals))
            step = step.tb_next
    return frames[::-1]
