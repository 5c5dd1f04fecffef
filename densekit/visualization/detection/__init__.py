"""Images with boxes and masks, and the reports on them."""
