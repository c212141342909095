"""Vela's command line, judged by Vela itself: which arguments flags set, and whether it takes them together."""

from __future__ import annotations

import argparse
import io
import os
import tempfile
from collections.abc import Iterator, Sequence

from arm_recipes.errors import ToolError

from .installed import VelaRefusal, muted, vela_module, words_of


def flags_set(flags: Sequence[str]) -> frozenset[str]:
    """Names (argparse ``dest``) of the Vela arguments that `flags` set, abbreviations resolved.

    Raises:
        VelaRefusal: Vela's parser does not accept the flags, or they only make it print something and end.
    """
    parser = _argument_parser()
    unset: list[str] = []  # a list, as some arguments append to what is there (a copy of it)
    seen = argparse.Namespace(**dict.fromkeys(vars(parser.parse_args([])), unset))
    with muted() as printed:
        try:
            parser.parse_args(list(flags), seen)
        except SystemExit as stop:
            raise VelaRefusal(_last_words(printed) if stop.code else "Vela prints something and ends") from None
    # `network` is positional: the parser sets it in any case.
    return frozenset(
        name for name, value in vars(seen).items() if value is not unset and (name, value) != ("network", None)
    )


def _argument_parser() -> argparse.ArgumentParser:
    """Vela's own argument parser. Vela builds it inside `main`, so it is picked up from there, before it parses."""

    class NoArguments:
        def __iter__(self) -> Iterator[str]:
            raise InterruptedError

    # Upstream: ethosu.vela.vela.main makes its parser where no one else gets at it. Holds for Vela 5.1.0;
    # tests/tools/test_upstream_vela.py::test_the_parser_is_made_inside_of_main fails when it can go.
    try:
        vela_module().main(NoArguments())
    except InterruptedError as stop:
        trace = stop.__traceback__
        while trace is not None:
            parser = trace.tb_frame.f_locals.get("parser")
            if isinstance(parser, argparse.ArgumentParser):
                return parser
            trace = trace.tb_next
    raise ToolError(
        "arm_recipes can't find the argument parser of this version of Vela. "
        "Install the one that executorch is tested with: pip install 'executorch[ethos-u]'"
    )


def try_flags(flags: Sequence[str]) -> None:
    """Let Vela judge a complete set of flags, by running it on a network that does not exist.

    Vela checks everything else before it opens the network, so getting as far as that is a pass.

    Raises:
        VelaRefusal: with Vela's own words.
    """
    # Upstream: ethosu.vela.vela.main, as there is no call that only checks. Holds for Vela 5.1.0;
    # tests/tools/test_upstream_vela.py::test_a_missing_network_is_found_last fails when it checks in another order.
    vela = vela_module()
    with tempfile.TemporaryDirectory() as folder, muted() as printed:
        network = os.path.join(folder, "none.tosa")
        try:
            vela.main([*flags, f"--output-dir={folder}", network])
        except FileNotFoundError as error:
            if error.filename == network:
                return
            raise VelaRefusal(str(error)) from error
        except SystemExit:
            raise VelaRefusal(_last_words(printed)) from None
        except (vela.VelaError, ValueError, KeyError) as error:
            raise VelaRefusal(words_of(error)) from error
        except Exception as error:  # it looks at no value of --recursion-limit, say
            raise VelaRefusal(f"{type(error).__name__}: {error}") from error
    raise VelaRefusal("Vela ends without compiling")


def _last_words(printed: io.StringIO) -> str:
    lines = printed.getvalue().strip().splitlines() or ["Vela ends without a word"]
    return lines[-1].removeprefix("vela: error: ")
