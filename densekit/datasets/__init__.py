"""Data sets of every kind: read, checked, split and handed out as samples; a folder for each kind of data."""
