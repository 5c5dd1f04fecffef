"""Classes of the pixels of images and videos."""
