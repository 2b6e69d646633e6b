"""What a person who builds a node needs, made from its profile: wiring, parts, power, picture.

Pure but for render.py."""
