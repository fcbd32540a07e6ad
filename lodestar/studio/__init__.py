"""The studio: a venture on one page, for a team. Reads records, not tensors."""
