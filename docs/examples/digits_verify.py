"""What each step towards the device costs in accuracy: the digits example in float, quantized, and simulated.

    python docs/examples/digits_verify.py [RECIPE ...]

Trains the network of digits.py, exports it for each recipe with calibration on 200 training images, and verifies the
lowered program on the 450 test images. Prints top-1 side by side.
"""

from __future__ import annotations

import argparse

from digits import load, trained
from rich.console import Console
from rich.table import Table

from arm_recipes import ArmRecipeType, export, verify

RECIPES = ["TOSA_INT8", "ETHOSU_U55_INT8", "ETHOSU_U85_A16W8", "VGF_INT8", "CORTEX_M55_INT8"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=f"default: {' '.join(RECIPES)}")
    names = parser.parse_args().recipes or RECIPES

    train, test = load()
    model = trained()
    table = Table("recipe", "float", "quantized", "simulated", "SQNR dB", "integers that differ")
    for name in names:
        session = export(model, ArmRecipeType[name], (train.images[:1],), calibration=train.images[:200])
        report = verify(session, (test.images, test.labels), max_accuracy_drop=1.0)
        assert report.accuracy is not None
        shares = [f"{figures['top1']:.2%}" for figures in report.accuracy.figures.values()]
        different = [f"{match.different} of {match.elements}" for match in report.integers]
        sqnr = report.comparison("float", "simulated").metrics["sqnr_db"]
        table.add_row(name, *shares, f"{sqnr:.1f}", ", ".join(different))
        for gate in report.failed_gates:
            print(f"{name}: {gate}")
    Console().print(table)


if __name__ == "__main__":
    main()
