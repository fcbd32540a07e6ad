"""The Transformer and nothing else: torch and the standard library only.

Read in this order: config, attention (the formula), positions, blocks, transformer, cache, generate.
"""
