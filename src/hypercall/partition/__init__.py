"""The state that hypercalls read and change: partition, processors, memory, interrupts, time."""
