"""Montages of volumes with their labels, and the reports on them."""
