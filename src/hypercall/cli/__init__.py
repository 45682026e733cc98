"""The command ``hypercall``: one module per subcommand, and what they share."""
