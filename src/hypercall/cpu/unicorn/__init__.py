"""The default engine: unicorn, driven by one compiled module that owns its hooks."""

# Loads the library that the compiled module is linked to, wherever the wheel put it.
import unicorn as unicorn
