"""The founder's flow, one file a stage. Reads records, not tensors."""
