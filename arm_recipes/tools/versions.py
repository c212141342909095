"""Which versions are installed of what makes a program. No torch here."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("arm_recipes", "torch", "executorch", "torchao", "ethos-u-vela", "tosa-tools", "ai_ml_sdk_model_converter")


def installed() -> dict[str, str]:
    """The version of each of `PACKAGES`, or "not installed"."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
