"""Registration of one pair of images by descent."""
