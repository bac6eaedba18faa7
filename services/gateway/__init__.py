"""The gateway: HTTP and gRPC for the outside, fan-out to the shards, fusion of their answers."""
