"""All recipes that have a name: llama.cpp's, and those for DeepSeek V4."""

from __future__ import annotations

from collections.abc import Mapping

from dslocal.errors import UsageError

from .deepseek4 import V4_RECIPES, V4Recipe
from .named import ALIASES, STOCK_RECIPES, NamedRecipe

MAX_SUGGESTED = 3  # recipes that a wrong name may have meant
RECIPES: Mapping[str, NamedRecipe | V4Recipe] = {
    recipe.name: recipe for recipe in (*STOCK_RECIPES, *V4_RECIPES)
}


def recipe_named(name: str) -> NamedRecipe | V4Recipe:
    """Return the recipe called ``name``, in any case. Raises UsageError where there is none."""
    found = RECIPES.get(ALIASES.get(name.upper(), name.upper()))
    if found is None:
        raise UsageError(f"unknown quantization {name!r:.40}", hint=_nearest(name.upper()))
    return found


def _nearest(name: str) -> str:
    """Return a hint: what may be meant by a name such as Q4 or Q4-KM, and all that there is."""
    from difflib import get_close_matches

    known = f"known: {', '.join(RECIPES)}"
    plain = name if name.startswith("V4") else name.replace("-", "_").replace(" ", "_")
    longer = [recipe for recipe in RECIPES if plain and recipe.startswith(plain)]
    # of several that begin so the K mixtures come first, and of those the medium one
    longer.sort(key=lambda recipe: (not recipe.endswith("_K_M"), "_K" not in recipe))
    near = longer or get_close_matches(plain, RECIPES, MAX_SUGGESTED)
    if not near:
        return known
    return f"did you mean {' or '.join(near[:MAX_SUGGESTED])}? {known}"
