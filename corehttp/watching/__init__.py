"""Watch the files of an application whose code is under development (--reload)."""
