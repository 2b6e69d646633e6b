"""The node: samples its sensors and keeps every sample until the gateway has it on disk. Start reading at `node.py`."""

VERSION = "0.1.0"
