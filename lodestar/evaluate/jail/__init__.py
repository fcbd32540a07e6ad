"""What runs inside the sandbox, from the standard library alone: the way in (`enter`), and a judge of untrusted functions (`judging`)."""
