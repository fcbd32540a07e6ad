"""The shared nouns. Nothing here imports another part of Lodestar, and nothing imports torch."""
