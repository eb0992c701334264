"""The same small application in several frameworks: what each path does is in `tests/e2e/test_frameworks.py`."""
