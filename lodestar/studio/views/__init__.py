"""The views of the studio: one file a view, each with a module-level `VIEW`."""
