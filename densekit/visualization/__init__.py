"""What the user looks at: pictures of predictions, training curves, HTML reports; a folder for each kind of data."""
