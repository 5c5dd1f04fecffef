"""What is predicted and what is true, as columns; and what checks find. No files, no networks, no drawing."""
