"""A server for the official conformance suites, and the gate that they are."""
