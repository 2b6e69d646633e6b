"""Where nodes, boards and drivers are found."""

from __future__ import annotations

import pytest

from gateway.errors import ConfigError
from gateway.profile import find_node, firmware_dir, hardware_dir, load_profile, locate, user_drivers
from tests.gateway.profile.node import write_node


def test_a_node_of_ours_is_found_by_name():
    assert find_node("climate-node") == hardware_dir() / "climate-node" / "profile.toml"
    assert "climate-node" in locate.nodes()


def test_a_node_of_ones_own_is_found_by_folder_or_file(tmp_path, monkeypatch):
    path = write_node(tmp_path)
    assert find_node(str(tmp_path)) == path
    assert find_node(path) == path
    monkeypatch.chdir(tmp_path.parent)
    assert find_node(tmp_path.name).resolve() == path


@pytest.mark.parametrize(
    ("name", "says"),
    [("climat-node", 'did you mean "climate-node"'), ("qqq", "there are air-node, climate"), ("", "no profile.toml")],
)
def test_a_node_that_is_not_there_is_one_sentence_with_a_hint(name, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=says):
        find_node(name)


def test_a_folder_without_a_profile_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"there is no profile.toml in this folder"):
        find_node(tmp_path)


def test_in_a_wheel_the_shipped_folders_are_inside_the_package(tmp_path, monkeypatch):
    assert hardware_dir().name == "hardware"
    assert firmware_dir().name == "firmware"
    for name in ("_hardware", "_firmware"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(locate, "_PACKAGE", tmp_path)
    assert hardware_dir() == tmp_path / "_hardware"
    assert firmware_dir() == tmp_path / "_firmware"


def test_a_board_beside_the_profile_comes_before_ours(tmp_path):
    node = tmp_path / "node"
    node.mkdir()
    assert locate.find_board("esp32-devkitc", node) == hardware_dir() / "boards" / "esp32-devkitc.toml"
    (tmp_path / "boards").mkdir()
    shared = tmp_path / "boards" / "esp32-devkitc.toml"
    shared.touch()
    assert locate.find_board("esp32-devkitc", node) == shared
    own = node / "esp32-devkitc.toml"
    own.touch()
    assert locate.find_board("esp32-devkitc", node) == own
    assert locate.find_board("other", node) is None


def test_a_nodes_own_python_files_are_listed(tmp_path):
    path = write_node(tmp_path)
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "bme280.py").touch()
    (tmp_path / "models" / "notes.txt").touch()
    assert user_drivers(path) == {
        "sensors": [tmp_path / "sensors" / "bme280.py", tmp_path / "sensors" / "vitals.py"],
        "models": [tmp_path / "models" / "bme280.py"],
    }
    assert user_drivers(find_node("climate-node")) == {"sensors": [], "models": []}


def test_every_node_of_ours_is_right():
    for name in locate.nodes():
        assert load_profile(find_node(name)).node.name == name
