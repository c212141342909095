"""Every row of the catalog, end to end on five small networks: lowered, simulated, and compared with float.

One session per row holds the networks as methods. A new row is tested without a change here; of Cortex-M a core of each
instruction set is.
"""

from __future__ import annotations

import functools

import pytest
import torch
from executorch.export import ExportRecipe, ExportSession, export
from torch import nn

from arm_recipes import ArmRecipeType, verify
from arm_recipes.recipes import catalog
from arm_recipes.tools import cmsis_nn
from tests import models, tiny_models
from tests.exports import random_samples

pytestmark = pytest.mark.no_cover  # others run the same code

NETWORKS = {
    "conv": models.conv_net,
    "residual": tiny_models.residual,
    "depthwise": tiny_models.depthwise,
    "linear": tiny_models.linear_only,
    "two_inputs": models.two_inputs,
}

# The least SQNR in dB against float. 80 dB is a relative error of 1e-4.
LEAST = {catalog.Precision.FP: 80.0, catalog.Precision.INT8: 25.0, catalog.Precision.A16W8: 45.0}

# A row of each kind takes all networks. Of the others' graphs the reports say that they are the same as theirs
# (test_golden.py): rows of Cortex-M differ in the core only, Ethos-U65 in what Vela makes of them.
_ON_ALL = ("ETHOSU_U55_INT8", "ETHOSU_U85_A16W8", "TOSA_FP", "VGF_INT8", "CORTEX_M55_INT8")


# By the kernels that they run.
_CORES = {
    cmsis_nn.default_isa(recipe.target.name): recipe
    for recipe in sorted(catalog.RECIPES, key=lambda recipe: recipe.name in _ON_ALL)
    if recipe.family is catalog.Family.CORTEX_M
}


def _networks(recipe: catalog.Recipe) -> list[str]:
    if recipe.name in _ON_ALL:
        return list(NETWORKS)
    if recipe.family is catalog.Family.CORTEX_M and recipe not in _CORES.values():
        return []
    alike = recipe.family is catalog.Family.CORTEX_M or recipe.target.name == "ethos-u65"
    return ["conv"] if alike else ["conv", "two_inputs"]


CASES = [
    pytest.param(recipe, network, id=f"{recipe.name}-{network}")
    for recipe in catalog.RECIPES
    for network in _networks(recipe)
]


def smooth(model: nn.Module) -> nn.Module:
    """Move the weights in place to where 8 bits per channel hold them exactly, so that activations are all that
    quantization rounds. (Batch norm scales whole channels, and so keeps them there.)"""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            weight = module.weight.data
            largest = weight.abs().amax(dim=tuple(range(1, weight.dim())), keepdim=True)
            module.weight.data = torch.round(weight / largest * 127) / 127 * largest
    return model


@functools.cache
def session(recipe: catalog.Recipe) -> ExportSession:
    """Exported by executorch's own `export`, once per test run."""
    networks = [str(network) for case in CASES for row, network in [case.values] if row is recipe]
    examples = {network: NETWORKS[network]() for network in networks}
    if recipe.precision is catalog.Precision.A16W8:
        for example in examples.values():
            smooth(example.model)
    return export(
        {network: example.model for network, example in examples.items()},
        {network: random_samples(example, 4) for network, example in examples.items()},
        ExportRecipe.get_recipe(ArmRecipeType[recipe.name]),
    )


@pytest.mark.parametrize(("recipe", "network"), CASES)
def test_it_is_near_the_model(recipe: catalog.Recipe, network: str) -> None:
    data = random_samples(NETWORKS[network](), 4)
    report = verify(session(recipe), data, method=network, min_sqnr=LEAST[recipe.precision], simulator="reference")
    assert report.failed_gates == ()
    assert report.samples == 4
    assert all(delegate.reproduced for delegate in report.delegates)
    assert bool(report.delegates) is (recipe.family is not catalog.Family.CORTEX_M)
    # Graph and quantized module round at different places, so that a step or two may lie between them.
    assert len(report.integers) == recipe.precision.quantized
    for match in report.integers:
        assert match.largest <= (8 if recipe.precision is catalog.Precision.A16W8 else 2)
