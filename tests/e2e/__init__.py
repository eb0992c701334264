"""Tests with real processes, sockets and clients, in real time."""
