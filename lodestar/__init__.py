"""Lodestar: a written vision, kept all the way to a model in production."""
