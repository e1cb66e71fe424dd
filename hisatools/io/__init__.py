"""Files in and out: mending survey headers, reading cubes, cutting them, writing results."""
