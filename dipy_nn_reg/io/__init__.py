"""Files of images, fields, points and tables, written completely or not at all."""
