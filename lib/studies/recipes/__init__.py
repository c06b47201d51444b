"""Recipes: does naming the ingredients free a recipe generator from templates?

*Explicit semantic supervision in modular image-to-recipe architectures*, IKTK-2025, Kharkiv, 2025.
Equation numbers in this package are those of that paper.
"""
