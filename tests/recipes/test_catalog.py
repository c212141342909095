"""The catalog: pure data, and what may depend on it."""

from __future__ import annotations

from arm_recipes.cli import doctor
from arm_recipes.recipes import catalog, options


def test_the_recipes_are_these() -> None:
    """Names and values are public: CI files and scripts spell them. A row may be added, none may be renamed."""
    assert {
        "ETHOSU_U55_INT8": "arm_ethosu_u55_int8",
        "ETHOSU_U55_A16W8": "arm_ethosu_u55_a16w8",
        "ETHOSU_U65_INT8": "arm_ethosu_u65_int8",
        "ETHOSU_U65_A16W8": "arm_ethosu_u65_a16w8",
        "ETHOSU_U85_INT8": "arm_ethosu_u85_int8",
        "ETHOSU_U85_A16W8": "arm_ethosu_u85_a16w8",
        "TOSA_FP": "arm_tosa_fp",
        "TOSA_INT8": "arm_tosa_int8",
        "TOSA_A16W8": "arm_tosa_a16w8",
        "VGF_FP": "arm_vgf_fp",
        "VGF_INT8": "arm_vgf_int8",
        "VGF_A16W8": "arm_vgf_a16w8",
    }.items() <= {recipe.name: recipe.value for recipe in catalog.RECIPES}.items()


def test_names_are_unique() -> None:
    assert len(catalog.BY_NAME) == len(catalog.RECIPES)


def test_every_family_has_options() -> None:
    for family in catalog.Family:
        assert issubclass(options.options_class(family), options.Options)


def test_every_precision_is_described() -> None:
    assert all(precision.description for precision in catalog.Precision)


def test_what_families_need_is_what_doctor_checks() -> None:
    checked = {check.name for check in doctor.checks(run=False)}
    assert {tool for family in catalog.Family for tool in family.facts.tools} <= checked
