"""The operator's side of a running service: its control socket, and the verbs of the command that use it."""
