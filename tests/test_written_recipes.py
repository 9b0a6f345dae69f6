"""Recipes of all Gemmas are what the table in tools/write_recipes.py makes."""

import json
import tomllib

import jsonschema
import pytest

from engine.paths import RECIPE_SCHEMA, RECIPES
from engine.recipe import files
from tools.write_recipes import GEMMAS, recipes, schema_text


@pytest.mark.parametrize("name", recipes())
def test_a_recipe_on_disk_is_what_the_table_makes(name: str) -> None:
    assert (RECIPES / name).read_text("utf-8") == recipes()[name]


def test_every_recipe_on_school_maths_is_in_the_table() -> None:
    on_disk = {
        path.name
        for path in RECIPES.glob("*.toml")
        if tomllib.loads(path.read_text("utf-8"))["data"]["sources"][0].get("id") == "openai/gsm8k"
    }
    assert on_disk == recipes().keys()
    assert len(on_disk) == 2 * len(GEMMAS)


def test_the_published_schema_is_that_of_recipes_and_takes_every_one() -> None:
    published = RECIPE_SCHEMA.read_text("utf-8")
    assert published == schema_text()
    check = jsonschema.Draft202012Validator(json.loads(published))
    for path in RECIPES.glob("*.toml"):
        document = tomllib.loads(path.read_text("utf-8"))
        assert [*check.iter_errors(document)] == []
        directive = path.read_text("utf-8").splitlines()[0].removeprefix(files.SCHEMA_DIRECTIVE)
        assert (path.parent / directive).samefile(RECIPE_SCHEMA)
        document["training"]["learning_rte"] = 1e-4
        assert [*check.iter_errors(document)]
