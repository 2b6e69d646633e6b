"""Runs the node as main.py does, with its files in the folder given as the argument."""

import sys

from device import config, port
from device.node import Node

folder = sys.argv[1]
port.FLASH_ROOT = folder
try:
    settings, profile = config.load(folder + "/settings.json", folder + "/profile.json", folder + "/ca.der")
except config.ConfigError as error:
    print("mpy-gateway:", error)
    sys.exit(1)

node = Node(settings, profile)
try:
    node.run()
except KeyboardInterrupt:
    node.finish()
