"""The processors: engines that run guest code and hand every exit to the machine."""
