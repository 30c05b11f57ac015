"""Files: images, fields, points and tables; written whole or not at all."""
