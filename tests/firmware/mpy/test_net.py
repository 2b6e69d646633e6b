import network

import check

NO_AP, WRONG_PASSWORD, CONNECTING, IDLE = 201, 202, 1001, 1000
network.STAT_NO_AP_FOUND = NO_AP
network.STAT_WRONG_PASSWORD = WRONG_PASSWORD

from device import port, signs  # noqa: E402
from device.net import Net  # noqa: E402  # it asks the port for its status codes when imported
from device.places import Places  # noqa: E402

port.urandom = lambda size: b"\xff" * size  # the longest of the random waits


class WLAN:
    """Wi-Fi that joins and says what the test wants."""

    def __init__(self, interface):
        self.said = IDLE
        self.up = False
        self.raises = None
        self.tried = []

    def active(self, on=None):
        return True

    def isconnected(self):
        return self.up

    def disconnect(self):
        pass

    def connect(self, ssid, key=None):
        self.tried.append(ssid)
        if self.raises:
            raise self.raises

    def status(self):
        return self.said


network.WLAN = WLAN
lines = []


def joining(said):
    """A Net whose Wi-Fi says `said` when the first join begins, at 0 ms."""
    places = Places("/nowhere", {"host": "gw", "tls": False})
    net = Net([{"ssid": "a"}, {"ssid": "b"}], places, 8765, None, lambda level, text: lines.append(text))
    net._wlan.said = said
    net.wifi(0)
    check.equal(net._wlan.tried, ["a"])
    return net, net._wlan


def test_a_failure_since_the_join_began_counts_at_once():
    for before, after in ((IDLE, NO_AP), (NO_AP, WRONG_PASSWORD)):
        net, wlan = joining(before)
        net.wifi(500)
        check.equal(wlan.tried, ["a"])
        wlan.said = after
        net.wifi(1000)
        check.equal(wlan.tried, ["a", "b"])


def test_a_failure_left_over_from_before_does_not_end_a_slow_join():
    net, wlan = joining(NO_AP)
    net.wifi(7900)
    check.equal(wlan.tried, ["a"])
    net.wifi(8000)
    check.equal(wlan.tried, ["a", "b"])


def test_a_join_without_any_verdict_ends_after_15_s():
    net, wlan = joining(CONNECTING)
    net.wifi(14900)
    check.equal(wlan.tried, ["a"])
    net.wifi(15000)
    check.equal(wlan.tried, ["a", "b"])


def test_whatever_the_driver_raises_the_next_join_is_tried():
    for error in (OSError("Wifi Internal Error"), RuntimeError("Wifi Unknown Error 0x3001")):
        net, wlan = joining(CONNECTING)
        wlan.raises = error
        net.wifi(15000)
        wlan.raises = None
        net.wifi(30000)
        net.wifi(31000)
        check.equal(wlan.tried, ["a", "b", "a"])


def fail(net, now, said):
    """The join that is under way fails at `now`, the verdict being new."""
    net._status = IDLE
    net._wlan.said = said
    net.wifi(now)


def test_when_none_could_be_joined_all_rest_ever_longer():
    net, wlan = joining(IDLE)
    now = 0
    rests = []
    for _ in range(9):
        for _ in range(2):
            now += 1000
            fail(net, now, NO_AP)
        begun, joins = now, len(wlan.tried)
        while len(wlan.tried) == joins:
            now += 100
            net.wifi(now)
        rests.append((now - begun) // 1000)
    check.equal(rests, [1, 2, 4, 4, 4, 4, 4, 4, 8])
    check.equal(wlan.tried, ["a", "b"] * 9 + ["a"])
    check.equal(net.trouble, signs.NO_NETWORK)


def test_a_wrong_password_is_told_though_another_network_is_only_away():
    net, wlan = joining(IDLE)
    lines.clear()
    fail(net, 1000, WRONG_PASSWORD)
    fail(net, 2000, NO_AP)
    check.equal(net.trouble, signs.WRONG_PASSWORD)
    check.equal(lines[0], "wifi: a: wrong password")
    check.equal(lines[2], "wifi: b: not in reach")


def test_after_a_loss_the_first_network_is_the_first_again():
    net, wlan = joining(IDLE)
    fail(net, 1000, NO_AP)
    wlan.up = True
    check.equal(net.wifi(2000), True)
    check.equal(net.trouble, signs.NONE)
    wlan.up = False
    net.wifi(3000)
    check.equal(wlan.tried, ["a", "b", "a"])


check.run(globals())
