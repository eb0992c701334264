"""HTTP as bytes on one side and as ASGI on the other."""
