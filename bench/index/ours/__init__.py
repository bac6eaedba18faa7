"""Our shard as one of the engines: in process, and through gRPC; a server of it that needs neither NATS nor MongoDB."""
