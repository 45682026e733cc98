"""The default engine: unicorn, driven by one compiled module that owns its hooks."""
