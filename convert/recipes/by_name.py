"""All recipes that have a name: llama.cpp's, and those for DeepSeek V4."""

from __future__ import annotations

from collections.abc import Mapping

from dslocal.errors import UsageError

from .deepseek4 import V4_RECIPES, V4Recipe
from .named import ALIASES, STOCK_RECIPES, NamedRecipe

RECIPES: Mapping[str, NamedRecipe | V4Recipe] = {
    recipe.name: recipe for recipe in (*STOCK_RECIPES, *V4_RECIPES)
}


def recipe_named(name: str) -> NamedRecipe | V4Recipe:
    """Return the recipe called ``name``, in any case. Raises UsageError where there is none."""
    found = RECIPES.get(ALIASES.get(name.upper(), name.upper()))
    if found is None:
        raise UsageError(f"unknown quantization {name!r:.40}", hint=f"known: {', '.join(RECIPES)}")
    return found
