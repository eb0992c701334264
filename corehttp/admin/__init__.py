"""The admin child: a process that tells how a service is, to probes, to Prometheus, and to people in a browser."""
