"""One HTML file that shows a run: what is gathered from its events, and the page around it."""
