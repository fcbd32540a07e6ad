"""The Transformer and nothing else: torch and the standard library only."""
