"""Arm's FVPs, the virtual boards that a .pte can run on, and where they are on this machine. No torch here."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from arm_recipes.errors import ToolError

RUNNER = "ARM_RECIPES_FVP_RUNNER"
INSTALL = (
    "Install Arm's FVP (executorch's examples/arm/setup.sh fetches it), build executorch's arm_executor_runner for "
    f"that board with semihosting (backends/arm/test/setup_testing.sh), and set {RUNNER} to it."
)


@dataclass(frozen=True)
class Board:
    """A virtual board.

    Attributes:
        program: the FVP's executable.
        processor: the instance name of the CPU, of which semihosting is a part.
        npu: the instance name of the NPU.
        settings: what makes it run without windows and telnet, and print to standard output.
    """

    program: str
    processor: str
    npu: str
    settings: tuple[str, ...]


def _corstone_300(npu: str) -> Board:
    settings = ("visualisation.disable-visualisation=1", "telnetterminal0.start_telnet=0", "uart0.out_file='-'")
    return Board(f"FVP_Corstone_SSE-300_{npu}", "cpu0", "ethosu", tuple(f"mps3_board.{one}" for one in settings))


_CORSTONE_320 = Board(
    "FVP_Corstone_SSE-320",
    "mps4_board.subsystem.cpu0",
    "mps4_board.subsystem.ethosu",
    (
        "mps4_board.visualisation.disable-visualisation=1",
        "vis_hdlcd.disable_visualisation=1",
        "mps4_board.telnetterminal0.start_telnet=0",
        "mps4_board.uart0.out_file='-'",
        "mps4_board.uart0.unbuffered_output=1",
        "mps4_board.uart0.shutdown_on_eot=1",
    ),
)

# By the names of the catalog's targets. Corstone-300 has a Cortex-M55, Corstone-320 a Cortex-M85.
BOARDS = {
    "ethos-u55": _corstone_300("Ethos-U55"),
    "ethos-u65": _corstone_300("Ethos-U65"),
    "ethos-u85": _CORSTONE_320,
    "cortex-m55": _corstone_300("Ethos-U55"),
    "cortex-m85": _CORSTONE_320,
}


def find_board(target: str, runner: str | None = None) -> tuple[Board, Path, Path]:
    """The board for a target, its executable on PATH, and the runner.

    Args:
        target: e.g. ``ethos-u55``.
        runner: path of it; None for the one that ARM_RECIPES_FVP_RUNNER names.

    Raises:
        ToolError: there is no FVP for it, or something is missing here.
    """
    board = BOARDS.get(target)
    if board is None:
        raise ToolError(
            f"simulator='fvp': Arm has no FVP with a {target} that executorch's runner is made for. Those "
            f"for {', '.join(BOARDS)} can be had. Leave out simulator= to verify on the reference simulator."
        )
    found = shutil.which(board.program)
    given = "runner" if runner is not None else RUNNER
    runner = os.environ.get(RUNNER) if runner is None else runner
    if found is None or runner is None or not Path(runner).is_file():
        lacking = [f"{board.program} is not on PATH"] if found is None else []
        if runner is None:
            lacking.append(f"{RUNNER} is not set")
        elif not Path(runner).is_file():
            lacking.append(f"{given}={runner!r} is no file")
        raise ToolError(
            f"simulator='fvp': {' and '.join(lacking)}. {INSTALL} Or leave out simulator= to verify on the reference "
            "simulator."
        )
    return board, Path(found), Path(runner)
