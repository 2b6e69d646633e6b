import network

import check

NO_AP, WRONG_PASSWORD, CONNECTING, IDLE = 201, 202, 1001, 1000
network.STAT_NO_AP_FOUND = NO_AP
network.STAT_WRONG_PASSWORD = WRONG_PASSWORD

from device.net import Net  # noqa: E402  # it asks the port for its status codes when imported


class WLAN:
    """Wi-Fi that never joins, and says what the test wants."""

    def __init__(self, interface):
        self.said = IDLE
        self.raises = None
        self.tried = []

    def active(self, on=None):
        return True

    def isconnected(self):
        return False

    def disconnect(self):
        pass

    def connect(self, ssid, key=None):
        self.tried.append(ssid)
        if self.raises:
            raise self.raises

    def status(self):
        return self.said


network.WLAN = WLAN


def joining(said):
    """A Net whose Wi-Fi says `said` when the first join begins, at 0 ms."""
    net = Net([{"ssid": "a"}, {"ssid": "b"}], "gw", 8765, None, lambda level, text: None)
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
        check.equal(wlan.tried, ["a", "b", "a"])


check.run(globals())
