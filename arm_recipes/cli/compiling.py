"""The set-up of every command that compiles a model, and how such a command fails. No torch until it is entered."""

from __future__ import annotations

import contextlib
import functools
import io
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from arm_recipes.errors import ArmRecipeError, LoweringError, ToolError
from arm_recipes.files import is_ours

from .output import others_kept_off, status
from .shared import CompileOptions

if TYPE_CHECKING:
    from arm_recipes.upstream.partitioner import Verdicts


@dataclass(frozen=True)
class Compiling:
    """What a command compiles.

    Attributes:
        model: the module or program.
        inputs: its example inputs; None where the model itself carries them.
        failures: a context for the compile, which tells its failures from errors of the user and from bugs.
    """

    model: Any
    inputs: Any
    failures: Callable[[], contextlib.AbstractContextManager[None]]


@contextlib.contextmanager
def compile_context(command: CompileOptions, model: str | None) -> Iterator[Compiling]:
    """Import torch, load the model and its inputs, and keep off the terminal what others print within the context.

    Args:
        command: as it was given.
        model: as it was typed; None to load none.

    Raises:
        ArmRecipeError: the model or its inputs are not as they should be.
    """
    with contextlib.ExitStack() as stack:
        printed = stack.enter_context(others_kept_off(command.verbose, command.log))
        with status("importing torch and executorch"), contextlib.redirect_stderr(printed):
            # torch's log handlers keep the standard error of this moment.
            from arm_recipes.session import export  # noqa: F401
            from arm_recipes.upstream import partitioner
        if command.as_json:
            stack.enter_context(contextlib.redirect_stdout(sys.stderr))
        loaded, inputs = (None, None) if model is None else _loaded(command, model)
        if not sys.stderr.isatty():
            # torch prints whole graphs there when it fails. On a terminal that is where the progress bars are.
            stack.enter_context(contextlib.redirect_stderr(printed))
        verdicts = stack.enter_context(partitioner.watched())
        yield Compiling(loaded, inputs, functools.partial(told_apart, verdicts, printed))


def _loaded(command: CompileOptions, model: str) -> tuple[Any, Any]:
    """The model, and its example inputs."""
    from arm_recipes.session import loading
    from arm_recipes.session.arguments import carried

    loaded = loading.load_model(model)
    inputs = loaded.example_inputs
    if command.inputs:
        inputs = loading.read_inputs(command.inputs, loaded.model)
    elif command.shapes:
        inputs = loading.random_inputs(command.shapes)
    elif inputs is None and carried(loaded.model) is None:
        raise ArmRecipeError(
            f"model={model!r} has no example inputs. Give --shape once per input, e.g. --shape 1x3x224x224, or "
            "--inputs FILE, or a function that gives a tuple of model and inputs."
        )
    return loaded.model, inputs


def read_data(path: str | None, command: CompileOptions) -> Any:
    """The data in a file or folder, read as the options for images say; None without a path."""
    from arm_recipes.samples import load_calibration

    return None if path is None else load_calibration(path, **command.image_options)


@contextlib.contextmanager
def told_apart(verdicts: list[Verdicts], printed: io.StringIO) -> Iterator[None]:
    """Tell failures of the compile from errors of the user and from bugs, and say why nothing was delegated.

    Args:
        verdicts: of the partitioner, as they come.
        printed: what others printed so far; the traceback goes there.
    """
    try:
        yield
    except (LoweringError, ToolError) as error:
        if error.__cause__ is not None:  # executorch's own failure, or a tool's
            printed.write("".join(traceback.format_exception(error)))
            raise CompileFailure(error, printed.getvalue()) from error
        if isinstance(error, ToolError):
            raise
        refused = {verdict.operator: verdict.reason for program in verdicts for verdict in program if verdict.reason}
        lines = [f"  {operator}: {reason}" for operator, reason in refused.items() if "quantize_per" not in operator]
        why = "\nRefused were:\n" + "\n".join(lines) if lines else ""
        raise LoweringError(f"{error}{why}") from error
    except (ArmRecipeError, KeyboardInterrupt):
        raise
    except (Exception, SystemExit) as error:
        printed.write("".join(traceback.format_exception(error)))
        frames = traceback.extract_tb(error.__traceback__)
        # Raised in this package, other than by a call of ours into someone else's code: a bug.
        if frames and is_ours(frames[-1].filename):
            raise
        raise CompileFailure(error, printed.getvalue()) from error


class CompileFailure(Exception):
    """The compile failed: a tool's own error, as opposed to one of the command's or of the library's."""

    def __init__(self, error: BaseException, printed: str) -> None:
        super().__init__(str(error))
        self.error = error
        self.printed = printed


def failure_text(failure: CompileFailure) -> str:
    error = failure.error
    kind = "" if isinstance(error, (SystemExit, ArmRecipeError)) else f"{type(error).__name__}: "
    text = str(error).strip() or "without a message"
    if isinstance(error, SystemExit):
        lines = [line for line in failure.printed.splitlines() if line.strip()]
        text = "\n".join(["a tool ended the process. Its last words:", *lines[-5:]])
    return (
        f"error: the compile failed: {kind}{text}\n"
        "No .pte was written. --log FILE keeps all that was said, and the traceback."
    )
