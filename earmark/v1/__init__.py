"""The generated public protocol, `earmark.v1`."""
