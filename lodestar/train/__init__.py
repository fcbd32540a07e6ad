"""Step 3: the one training loop."""
