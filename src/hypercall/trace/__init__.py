"""What a running guest did: one event model, and the writers and counters that subscribe to it."""
