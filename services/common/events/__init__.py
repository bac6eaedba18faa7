"""Events: the topology as data, publishing, consuming, following, and the dead-letter stream."""
