"""Step 2: a size or a saved bundle → a module."""
