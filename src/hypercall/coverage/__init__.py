"""Which enlightenments a guest was offered, read about and used, and what a better one would do."""
