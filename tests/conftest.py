"""Shared by all tests. Loopback only; ports are free ones; nothing is written outside tmp_path."""
