"""TLS: what the options say of it, and the contexts that connections are wrapped with."""
