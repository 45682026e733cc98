"""The devices of the board, one module each; all but the serial port are a PC's bare minimum."""
