"""The process that owns what outlives a worker."""
