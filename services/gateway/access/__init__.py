"""Who calls, and what they may: keys, scopes, collections, rates, quotas and signed URLs."""
