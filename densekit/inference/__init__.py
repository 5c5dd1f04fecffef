"""Predicting: from files to results on disk, one bad file costing that file alone; a folder for each kind of data."""
