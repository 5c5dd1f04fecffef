"""What data sets of all kinds need: image files, splits, findings, outliers, similar images."""
