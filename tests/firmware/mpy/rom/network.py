"""Wi-Fi that is simply there."""

STA_IF = 0


class WLAN:
    def __init__(self, interface=STA_IF):
        pass

    def active(self, on=None):
        return True

    def isconnected(self):
        return True

    def connect(self, ssid, key=None):
        pass

    def disconnect(self):
        pass

    def status(self, what=None):
        return -61 if what == "rssi" else 1010
