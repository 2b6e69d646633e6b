"""All settings: one TOML file, the environment, the command line, each over the one before. Read once, frozen.

No secret is ever in here: a password is in a file of its own (`password_file`), or a systemd credential.
"""

from gateway.config.load import load_config
from gateway.config.paths import (
    FILE_NAME,
    PREFIX,
    default_file,
    private_opener,
    read_secret,
    state_dir,
    write_private,
)
from gateway.config.sections import (
    BrokerConfig,
    Config,
    DevicesConfig,
    Door,
    GatewayConfig,
    Limits,
    LogConfig,
    MqttConfig,
    PeopleConfig,
    Settings,
    StoreConfig,
    is_loopback,
)
from gateway.config.text import example, schema, show
from gateway.errors import ConfigError

__all__ = [
    "FILE_NAME",
    "PREFIX",
    "BrokerConfig",
    "Config",
    "ConfigError",
    "DevicesConfig",
    "Door",
    "GatewayConfig",
    "Limits",
    "LogConfig",
    "MqttConfig",
    "PeopleConfig",
    "Settings",
    "StoreConfig",
    "default_file",
    "example",
    "is_loopback",
    "load_config",
    "private_opener",
    "read_secret",
    "schema",
    "show",
    "state_dir",
    "write_private",
]
