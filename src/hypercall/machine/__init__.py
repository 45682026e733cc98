"""The board: buses, devices, loaders, tables for the firmware interface, and the run loop."""
