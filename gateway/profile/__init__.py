"""The profile of a node: read and checked once, used by firmware, validation, discovery, page and emulated board."""

from gateway.profile.firmware import firmware_profile, firmware_sources
from gateway.profile.load import load_board, load_profile
from gateway.profile.locate import find_node, firmware_dir, hardware_dir, user_drivers
from gateway.profile.model import (
    ArgSpec,
    Board,
    Bus,
    ChipFacts,
    CommandSpec,
    Delivery,
    Input,
    Node,
    Output,
    Pin,
    Power,
    Profile,
    Quantity,
    Sensor,
)
from gateway.profile.tables import ProfileError

__all__ = [
    "ArgSpec",
    "Board",
    "Bus",
    "ChipFacts",
    "CommandSpec",
    "Delivery",
    "Input",
    "Node",
    "Output",
    "Pin",
    "Power",
    "Profile",
    "ProfileError",
    "Quantity",
    "Sensor",
    "find_node",
    "firmware_dir",
    "firmware_profile",
    "firmware_sources",
    "hardware_dir",
    "load_board",
    "load_profile",
    "user_drivers",
]
