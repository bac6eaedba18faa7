"""The generated mesh protocol, `earmark.internal.v1`."""
