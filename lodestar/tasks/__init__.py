"""One file an application; a task is found by listing this folder."""
