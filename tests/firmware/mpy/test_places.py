import os

import check
from device.places import Places

PATH = "place.json"
GATEWAY = {"host": "192.0.2.1", "port": 8765, "tls": True, "mdns": "gw-1.local"}


def fresh(**changes):
    for path in (PATH, PATH + ".new"):
        try:
            os.remove(path)
        except OSError:
            pass
    return Places(PATH, dict(GATEWAY, **changes))


def turns(places, count=5):
    return [places.turn() for _ in range(count)]


def test_the_name_is_looked_up_after_two_tries_where_the_settings_say():
    check.equal(turns(fresh()), ["192.0.2.1", "192.0.2.1", "gw-1.local", "192.0.2.1", "192.0.2.1"])


def test_where_it_was_it_is_looked_for_first():
    places = fresh()
    turns(places, 3)
    places.keep("192.0.2.77")
    check.equal(turns(places, 3), ["192.0.2.77", "192.0.2.77", "192.0.2.1"])
    places.keep("192.0.2.77")
    check.equal(places.turn(), "192.0.2.77")


def test_where_it_was_found_comes_first_also_after_a_restart():
    fresh().keep("192.0.2.77")
    check.equal(turns(Places(PATH, GATEWAY), 4), ["192.0.2.77", "192.0.2.77", "192.0.2.1", "gw-1.local"])


def test_what_the_settings_say_is_not_written():
    fresh().keep("192.0.2.1")
    check.raises(OSError, lambda: os.stat(PATH))


def test_new_settings_end_it():
    fresh().keep("192.0.2.77")
    check.equal(Places(PATH, dict(GATEWAY, host="192.0.2.2")).turn(), "192.0.2.2")


def test_without_tls_anyone_could_answer_so_only_the_settings_count():
    places = fresh(tls=False)
    places.keep("192.0.2.77")
    check.equal(turns(places, 2), ["192.0.2.1", "192.0.2.1"])
    check.equal(turns(Places(PATH, dict(GATEWAY, tls=False)), 2), ["192.0.2.1", "192.0.2.1"])


def test_a_damaged_file_is_as_none():
    for content in ("", "{", "[]", '{"of": "192.0.2.1"}', '{"of": "192.0.2.1", "is": 7}', "\xff"):
        places = fresh()
        with open(PATH, "w") as file:
            file.write(content)
        check.equal(Places(PATH, GATEWAY).turn(), "192.0.2.1")


def test_only_the_settings_are_more_than_a_hint():
    places = fresh()
    turns(places, 2)
    check.equal(places.is_hint(), False)
    places.turn()
    check.equal(places.is_hint(), True)


check.run(globals())
