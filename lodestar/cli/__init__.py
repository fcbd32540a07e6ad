"""One thin file a command; the only place that joins tasks, steps and venture."""
