"""The command `arm-recipes`: parsing and printing. Everything else is a call of the library.

The exit statuses stand in the help of `cli`. What takes long to import (torch, executorch) is imported only by the
commands that need it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Any

import click

from arm_recipes.errors import ArmRecipeError, SimulationError, nearest

from .compiling import CompileFailure, failure_text
from .export import export_model
from .listing import COMPLETE, check_machine, list_options, list_recipes, print_completion
from .output import complain
from .shared import SETTINGS
from .signals import Terminated, signals_end_it
from .sweep import sweep_model
from .verify import verify_model


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Exceptions that come out of here are bugs.

    Args:
        arguments: of the command line; sys.argv's where not given.

    Returns:
        The exit status.
    """
    try:
        with signals_end_it() as raised:
            status = _run(arguments, raised)
            sys.stdout.flush()
            return status
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt) as stop:  # click makes the first of the second
        signalled = stop if isinstance(stop, Terminated) else stop.__cause__ or stop.__context__  # click 8.1: no cause
        if isinstance(signalled, Terminated):
            complain(f"ended by {signalled.name}; no file is left half-written")
            return 128 + signalled.number
        complain("interrupted; no file is left half-written")
        return 130
    except ArmRecipeError as error:
        complain(f"error: {error}")
        return 1 if isinstance(error, SimulationError) else 2
    except CompileFailure as failure:
        complain(failure_text(failure))
        return 1
    except (BrokenPipeError, SystemExit) as stop:
        if isinstance(stop, SystemExit) and "PacifyFlush" not in type(sys.stdout).__name__:  # click's, for such a pipe
            raise
        # The reader of a pipe, e.g. head, has seen enough.
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - until the end: Python flushes it once more
        return 0


def _run(arguments: Sequence[str] | None, raised: list[Terminated]) -> int:
    code = cli.main(
        args=None if arguments is None else list(arguments),
        prog_name="arm-recipes",
        complete_var=COMPLETE,
        standalone_mode=False,
        obj=raised,
    )
    return code if isinstance(code, int) else 0


class _Commands(click.Group):
    """A group that names the nearest command for a misspelt one."""

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            near = nearest(args[0], self.commands)
            if near is None or "Did you mean" in error.message:
                raise
            raise click.UsageError(f"{error.message} Did you mean {near!r}?", ctx) from None


@click.group(cls=_Commands, context_settings=SETTINGS)
@click.option(
    "-V",
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    help="Show the version and exit.",
    callback=lambda ctx, param, value: _print_version(ctx) if value else None,
)
def cli() -> None:
    """Compile PyTorch models for Arm targets: Ethos-U, Cortex-M, VGF, TOSA.

    \b
    arm-recipes list                         what there is to compile for
    arm-recipes options ethosu-u85-int8      the options of one recipe
    arm-recipes export model.py -r ethosu-u85-int8 -o macs=256 --calibration data/ --output build/
    arm-recipes verify model.py -r ethosu-u85-int8 --data data/      whether it is still the model
    arm-recipes sweep model.py -r ethosu-u85-int8          what each configuration would cost
    arm-recipes doctor                       what is missing on this machine

    \b
    Exit status:
      0    it is done, and every condition holds
      1    the compile or the simulation failed; for sweep, that of every point;
           for doctor, something that a recipe wants is missing or broken
      2    the command, the model or the data has to be changed
      3    a condition does not hold: a gate of export or verify, or the limits of a sweep for
           every point; an export's files are written
      130  Ctrl-C; 143 and 129, SIGTERM and SIGHUP
    """


def _print_version(context: click.Context) -> None:
    from arm_recipes import __version__

    click.echo(f"arm-recipes {__version__}")
    context.exit()


for _command in (
    list_recipes,
    list_options,
    export_model,
    verify_model,
    sweep_model,
    check_machine,
    print_completion,
):
    cli.add_command(_command)
