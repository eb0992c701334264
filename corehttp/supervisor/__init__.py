"""The supervisor: the process that starts and replaces workers, and owns what outlives them."""
