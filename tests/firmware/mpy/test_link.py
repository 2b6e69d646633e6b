import binascii
import hashlib
import json
from array import array
from time import Hand

import check
from device import link as links
from device import signs, wire
from device.clock import Clock
from device.commands import Commands
from device.executed import Executed
from device.link import BACKOFF, CLOSING, CONNECTING, HELLO, IDLE, ONLINE, SECURING, TRANSITIONS, UPGRADING, WIFI
from device.link import Identity, Link, Untrusted
from device.outbox import Boot, Outbox
from device.places import Places
from device.tokens import Tokens

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Net:
    """Wi-Fi and a socket in the hands of the test."""

    secure = None
    trouble = signs.NONE

    def __init__(self):
        self.places = Places("/nowhere", {"host": "gw", "tls": False})
        self.proofs = 0
        self.shaken = 0  # bytes that TLS takes once the gateway is verified, or what it raises
        self.date_ms = None
        self.expired = None  # what telling the date raises
        self.up = True
        self.stands = True
        self.open = False
        self.refuses = None  # an OSError that connecting raises
        self.incoming = bytearray()
        self.ended = False
        self.outgoing = bytearray()
        self.takes = 100000  # bytes the socket takes before it is full
        self.connects = 0

    def wifi(self, now):
        return self.up

    def connect(self, tries):
        self.connects += 1
        self.open = True
        self.ended = False
        self.incoming = bytearray()
        self.outgoing = bytearray()
        if self.refuses:
            raise self.refuses

    def connected(self):
        return self.stands

    def proved(self):
        self.proofs += 1

    def shake(self, buf):
        if type(self.shaken) is not int:
            raise self.shaken
        return self.write(buf, 0, self.shaken) or 0

    def set_date(self, unix_ms):
        self.date_ms = unix_ms
        if self.expired:
            raise self.expired

    def read_into(self, buf):
        if not self.incoming:
            return 0 if self.ended else None
        size = min(len(buf), len(self.incoming))
        buf[:size] = self.incoming[:size]
        self.incoming = self.incoming[size:]
        return size

    def write(self, buf, at, size):
        size = min(size, self.takes)
        self.takes -= size
        self.outgoing += buf[at : at + size]
        return size or None

    def close(self):
        self.open = False


class Log:
    def __init__(self):
        self.lines = []

    def __call__(self, level, text):
        self.lines.append((level, text))

    def next_line(self):
        return None


class Sampler:
    def __init__(self):
        self.newest = [array("i", [2170])]

    def newest_ms(self):
        return 84000


class Bench:
    """A link with the test as its gateway."""

    def __init__(self, slots=600):
        self.hand = Hand(before_wrap_ms=20000)
        self.clock = Clock(self.hand)
        self.net = Net()
        self.log = Log()
        columns = wire.Columns([[wire.Column("temperature", 2)]], 4096)
        self.box = Outbox(Boot(17, "9f3c11d2c01b6a55", "5a0f9c3be1d27718"), slots, 1, columns=columns)
        self.commands = Commands(self.clock, lambda lit: None, Executed("/dev/null"))
        self.random = 0xFF
        who = Identity("greenhouse", "a4cf12b0c3d4", "climate-node", Tokens("/dev/null", "t" * 43), "gw", 8765)
        self.link = Link(who, self.box, Sampler(), self.commands, self.net, self.clock, self.urandom, self.log)
        self.link.start()

    def urandom(self, size):
        return bytes([self.random]) * size

    def poll(self, turn_ms=0, times=1):
        """Turns the clock and lets the link do all it can do at that moment."""
        for _ in range(times):
            self.hand.turn(turn_ms)
            polls = 0
            while self.link.poll(self.clock.ticks()) == 0 and polls < 20:
                polls += 1

    def samples(self, count):
        for _ in range(count):
            self.box.put_sample(0, self.box.next * 1000, array("i", [self.box.next]), 1)

    def frames(self):
        """What the link has sent since: JSON of text frames, or (first byte, payload)."""
        data = bytes(self.net.outgoing)
        self.net.outgoing = bytearray()
        found = []
        while data:
            size = data[1] & 127
            at = 2
            if size == 126:
                size, at = data[2] << 8 | data[3], 4
            key = data[at : at + 4]
            payload = bytes(data[at + 4 + i] ^ key[i & 3] for i in range(size))
            found.append(json.loads(payload) if data[0] == 0x81 else (data[0], payload))
            data = data[at + 4 + size :]
        return found

    def records(self):
        """(first, last) of the records sent since."""
        found = []
        for frame in self.frames():
            if frame["type"] == "samples":
                found.append((frame["seq"], frame["seq"] + len(frame["t"]) - 1))
            elif frame["type"] == "gap":
                found.append(("gap", frame["from"], frame["to"]))
            elif frame["type"] == "event":
                found.append(("event", frame["seq"]))
        return found

    def say(self, message, first=0x81):
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        size = len(payload)
        self.net.incoming += bytes((first, size) if size < 126 else (first, 126, size >> 8, size & 255)) + payload

    def upgrade(self, status=101):
        self.poll(times=3)
        check.equal(self.link.state, UPGRADING)
        request = bytes(self.net.outgoing)
        self.net.outgoing = bytearray()
        key = next(line[19:] for line in request.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
        accept = binascii.b2a_base64(hashlib.sha1(key + GUID).digest()).strip()
        self.net.incoming += (
            b"HTTP/1.1 %d x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" % status
            + b"Sec-WebSocket-Protocol: mpy-gateway.v1\r\nSec-WebSocket-Accept: %s\r\n\r\n" % accept
        )
        self.poll()

    def welcome(self, committed=-1, window=256):
        self.say({"type": "welcome", "time": None, "window": window, "boots": [{"boot": 17, "committed": committed}]})

    def online(self, committed=-1, window=256):
        self.upgrade()
        self.welcome(committed, window)
        self.poll()
        check.equal(self.link.state, ONLINE)
        return self.frames()[0]

    def ack(self, seq):
        self.say({"type": "ack", "boot": 17, "seq": seq})
        self.poll()

    def error(self, code, retry=False):
        self.say({"type": "error", "code": code, "text": "x", "retry": retry})
        self.poll()

    def close(self, code, reason=b""):
        self.say(bytes((code >> 8, code & 255)) + reason, 0x88)
        self.poll()
        self.net.ended = True
        self.poll()

    def wait_ms(self):
        """How long the back-off lasts that has begun."""
        check.equal(self.link.state, BACKOFF)
        waited = 0
        connects = self.net.connects
        while self.link.state == BACKOFF and self.net.connects == connects:
            self.poll(100)
            waited += 100
        return waited


def test_it_says_hello_first_and_nothing_more_before_the_welcome():
    bench = Bench()
    bench.samples(3)
    bench.upgrade()
    bench.poll(times=5)
    hello = bench.frames()
    check.equal(len(hello), 1)
    check.equal(hello[0]["type"], "hello")
    check.equal(
        hello[0]["boots"],
        [{"boot": 17, "id": "9f3c11d2c01b6a55", "first": 0, "next": 3, "profile": "5a0f9c3be1d27718", "t": 2000}],
    )
    bench.welcome()
    bench.poll()
    check.equal(bench.records(), [(0, 2)])


def test_a_clock_is_answered_at_once_before_the_welcome_too():
    bench = Bench()
    bench.upgrade()
    bench.frames()
    bench.say({"type": "clock", "id": 3})
    bench.poll(250)
    check.equal(bench.frames(), [{"type": "clock", "id": 3, "t": bench.clock.uptime_ms()}])


def test_it_goes_on_behind_what_is_committed():
    bench = Bench()
    bench.samples(10)
    bench.online(committed=3)
    bench.samples(1)
    bench.poll()
    check.equal(bench.box.running.base, 4)
    bench.net.ended = True
    bench.poll()
    bench.wait_ms()
    bench.net.ended = False
    hello = bench.online(committed=7)
    check.equal((hello["boots"][0]["first"], hello["boots"][0]["next"]), (4, 11))
    check.equal(bench.box.running.base, 8)


def test_no_more_than_the_window_is_under_way():
    bench = Bench()
    bench.samples(100)
    bench.upgrade()
    bench.welcome(window=10)
    bench.poll(times=5)
    bench.frames()
    check.equal(bench.box.running.sent, 10)
    bench.ack(3)
    bench.poll()
    check.equal(bench.box.running.sent, 14)
    bench.ack(13)
    check.equal(bench.box.running.sent, 24)


def test_acks_of_what_was_never_sent_and_of_other_boots_change_nothing():
    bench = Bench()
    bench.samples(5)
    bench.online(window=2)
    bench.ack(4)
    bench.say({"type": "ack", "boot": 16, "seq": 1})
    bench.poll()
    check.equal(bench.box.running.base, 0)


def test_a_backlog_above_the_window_keeps_the_live_value_fresh_once_a_second():
    bench = Bench()
    bench.samples(50)
    bench.upgrade()
    bench.welcome(window=10)
    latest = 0
    for _ in range(50):
        bench.poll(100)
        latest += sum(1 for frame in bench.frames() if not isinstance(frame, tuple) and frame["type"] == "latest")
    check.true(4 <= latest <= 6, f"{latest} latest frames in 5 s")
    bench.ack(9)
    for seq in (19, 29, 39):
        bench.poll()
        bench.ack(seq)
    bench.frames()
    bench.poll(1000)
    bench.poll(1000)
    check.equal(bench.records(), [])


def test_what_is_full_goes_out_as_a_gap():
    bench = Bench(slots=4)
    bench.samples(10)
    bench.upgrade()
    bench.frames()
    bench.welcome()
    bench.poll()
    check.equal(bench.records(), [("gap", 0, 5), (6, 9)])


def test_a_record_refused_twice_becomes_a_gap_and_the_rest_goes_on():
    bench = Bench()
    bench.samples(2)
    bench.online()
    bench.error("frame.json")
    bench.samples(3)
    bench.poll(1000)
    check.equal(
        bench.records(),
        [],
    )
    bench.poll(1000)
    check.equal(bench.records(), [(0, 4)])
    bench.error("frame.json")
    bench.poll()
    check.equal(bench.records(), [("gap", 0, 4), ("event", 5)])
    check.equal(bench.box.ring.event(5), b'"code":"frame.refused","data":{"code": "frame.json"}')
    bench.ack(5)
    bench.samples(1)
    bench.poll()
    check.equal(bench.records(), [(6, 6)])


def test_an_error_whose_frame_is_acknowledged_all_the_same_refuses_nothing():
    bench = Bench()
    bench.samples(2)
    bench.online()
    for _ in range(5):
        bench.error("frame.columns")
        bench.ack(bench.box.running.sent - 1)
        bench.samples(1)
        bench.poll()
    check.equal(bench.records(), [(i, i) for i in range(2, 7)])


def test_a_value_in_quarantine_stops_nothing():
    bench = Bench()
    bench.samples(2)
    bench.online()
    bench.error("value.range")
    bench.samples(1)
    bench.poll()
    check.equal(bench.records(), [(2, 2)])


def test_a_full_disk_is_given_time_and_then_all_comes_again():
    bench = Bench()
    bench.samples(2)
    bench.online()
    bench.error("store.unavailable", retry=True)
    bench.samples(1)
    bench.poll(1000, times=4)
    check.equal(bench.records(), [])
    bench.poll(1001)
    check.equal(bench.records(), [(0, 2)])


def test_without_any_ack_for_a_minute_all_comes_again():
    bench = Bench()
    bench.samples(2)
    bench.online()
    for _ in range(70):
        bench.poll(1000)
        bench.say(b"", 0x8A)
    bench.poll()
    again = [frame for frame in bench.frames() if not isinstance(frame, tuple) and frame["type"] == "samples"]
    check.equal([frame["seq"] for frame in again], [0])


def test_a_silent_gateway_is_noticed_within_25_s():
    bench = Bench()
    bench.online()
    waited = 0
    while bench.link.state == ONLINE:
        bench.poll(500)
        waited += 500
    check.true(24000 <= waited <= 26000, f"noticed after {waited} ms")
    check.true(not bench.net.open)


def test_a_gateway_that_takes_nothing_any_more_is_noticed_within_25_s():
    bench = Bench()
    bench.online()
    bench.net.takes = 100  # and then its host loses power: the socket is full for ever
    bench.samples(300)
    waited = 0
    while bench.link.state == ONLINE and waited < 60000:
        bench.poll(500)
        waited += 500
    check.equal(bench.link.state, BACKOFF)
    check.true(waited <= 26000, f"noticed after {waited} ms")
    check.true(not bench.net.open)


def test_a_gateway_that_takes_little_by_little_is_not_given_up():
    bench = Bench()
    bench.online()
    bench.net.takes = 1
    bench.samples(300)
    bench.poll()
    for _ in range(10):
        bench.net.takes = 1
        bench.poll(20000)
        check.equal(bench.link.state, ONLINE)


def test_a_handshake_that_does_not_end_is_given_up():
    for drip in (False, True):
        bench = Bench()
        if not drip:
            bench.net.takes = 0  # not even the request goes
        bench.poll(times=4)
        check.equal(bench.link.state, UPGRADING)
        for _ in range(10):
            if drip:
                bench.net.incoming += b"x"
            bench.poll(1000)
        check.equal(bench.link.state, BACKOFF)


def test_pings_are_sent_every_15_s_and_answers_keep_the_connection():
    bench = Bench()
    bench.online()
    pings = 0
    for _ in range(120):
        bench.poll(500)
        for frame in bench.frames():
            if frame == (0x89, b""):
                pings += 1
                bench.say(b"", 0x8A)
    check.equal((pings, bench.link.state), (4, ONLINE))


def test_an_answer_that_waited_in_the_socket_while_we_were_blocked_counts():
    bench = Bench()
    bench.online()
    bench.poll(15000)
    bench.say(b"", 0x8A)
    bench.poll(12000)
    check.equal(bench.link.state, ONLINE)


def test_pings_of_the_gateway_are_answered_in_order():
    bench = Bench()
    bench.online()
    bench.net.takes = 0
    for i in range(3):
        bench.say(b"%d" % i, 0x89)
    bench.poll(times=3)
    bench.net.takes = 1000
    bench.poll()
    check.equal(bench.frames(), [(0x8A, b"0"), (0x8A, b"1"), (0x8A, b"2")])


def test_a_socket_that_takes_byte_by_byte():
    bench = Bench()
    bench.samples(3)
    bench.net.takes = 0
    bench.poll(times=3)
    while bench.link.sending():
        bench.net.takes = 7
        bench.poll()
    bench.net.takes = 0
    request = bytes(bench.net.outgoing)
    check.true(request.endswith(b"\r\n\r\n"))


def test_codes_that_trying_again_will_not_help_wait_at_least_30_s():
    for code in (4003, 4004, 4010, 4011, 4012):
        bench = Bench()
        bench.random = 0
        bench.upgrade()
        bench.close(code)
        check.equal(bench.frames()[-1], (0x88, bytes((code >> 8, code & 255))))
        check.equal(bench.wait_ms(), 30000)


def test_a_refused_token_waits_at_least_30_s():
    bench = Bench()
    bench.random = 0
    bench.upgrade(status=401)
    check.equal(bench.wait_ms(), 30000)


def test_with_more_than_one_token_the_next_try_is_soon_until_each_was_refused():
    bench = Bench()
    tokens = bench.link._identity.tokens
    tokens._turn_to("n" * 43, "p" * 43)
    for letter, wait_ms in (("n", 1000), ("p", 2000), ("t", 34000), ("n", 4000)):
        check.equal(tokens.now(), letter * 43)
        bench.upgrade(status=401)
        check.equal(bench.wait_ms(), wait_ms)
    bench.upgrade()
    check.equal(tokens._refused, 0)


def test_a_new_token_is_written_first_then_the_connection_ends_and_the_next_one_shows_it():
    bench = Bench()
    tokens = bench.link._identity.tokens
    did = []
    tokens.rotate = lambda token: did.append((token, bench.link.state)) or tokens._turn_to(token, "t" * 43)
    bench.online()
    bench.say({"type": "token", "token": "t" * 43})  # the one it has
    bench.say({"type": "token", "token": "N" * 43})
    bench.poll()
    check.equal(did, [("N" * 43, ONLINE)])
    check.equal(bench.frames(), [(0x88, bytes((1000 >> 8, 1000 & 255)))])
    check.equal(bench.link.state, CLOSING)
    bench.close(1000)
    bench.wait_ms()
    bench.poll(times=3)
    check.true(b"Bearer " + b"N" * 43 + b"\r\n" in bench.net.outgoing, bytes(bench.net.outgoing))


def test_a_token_that_cannot_be_written_changes_nothing_and_is_told():
    bench = Bench()  # /dev/null.new can be written, and not renamed
    bench.online()
    bench.link._identity.tokens._path = "/nowhere/token.json"
    bench.say({"type": "token", "token": "N" * 43})
    bench.poll()
    check.equal(bench.link.state, ONLINE)
    check.equal(bench.log.lines[-1][0], "warning")
    check.true("cannot be written" in bench.log.lines[-1][1])
    check.equal(bench.link._identity.tokens.now(), "t" * 43)


def test_what_is_no_token_is_ignored():
    bench = Bench()
    bench.online()
    for token in (None, 5, "", "N" * 42, "N" * 44, "N" * 42 + "=", "N" * 41 + "\r\n"):
        bench.say({"type": "token", "token": token})
        bench.poll()
        check.equal(bench.log.lines[-1][1], "link: a frame from the gateway is ignored: token: 'token' is missing or wrong")
    check.equal(bench.link.state, ONLINE)


def test_with_tls_nothing_is_said_before_the_gateway_is_verified():
    bench = Bench()
    bench.net.secure = True
    bench.poll(50, times=40)
    check.equal((bench.link.state, bytes(bench.net.outgoing)), (SECURING, b""))
    bench.net.shaken = 10
    bench.upgrade()
    bench.welcome()
    bench.poll()
    check.equal(bench.link.state, ONLINE)


def test_a_tls_handshake_that_does_not_end_is_given_up_after_10_s():
    bench = Bench()
    bench.net.secure = True
    bench.poll(0, times=3)
    bench.poll(9900)
    check.equal(bench.link.state, SECURING)
    bench.poll(100)
    check.equal(bench.link.state, BACKOFF)
    check.true("no answer to the handshake" in bench.log.lines[-2][1])


def test_who_is_not_to_be_trusted_is_left_alone_for_30_s():
    bench = Bench()
    bench.random = 0
    bench.net.secure = True
    bench.net.shaken = Untrusted("not the one")
    bench.poll(0, times=3)
    check.equal(bench.log.lines[-2], ("warning", "link: not the one"))
    bench.net.shaken = 1000
    check.equal(bench.wait_ms(), 30000)
    bench.net.expired = Untrusted("too old")
    bench.upgrade()
    bench.say({"type": "welcome", "time": 1800000000000, "window": 1, "boots": []})
    bench.poll()
    check.equal(bench.net.date_ms, 1800000000000)
    check.equal(bench.log.lines[-2], ("warning", "link: too old"))
    check.equal(bench.wait_ms(), 30000)


def test_who_is_not_to_be_trusted_where_only_a_hint_led_does_not_hold_up_the_next_place():
    bench = Bench()
    bench.random = 0
    bench.net.secure = True
    bench.net.places.now = "gw-1.local"
    bench.net.shaken = Untrusted("not the one")
    bench.poll(0, times=3)
    bench.net.shaken = 1000
    check.equal(bench.wait_ms(), 100)


def test_what_is_wrong_is_known_until_the_gateway_has_welcomed_us():
    bench = Bench()
    bench.net.up = False
    bench.poll(0)
    check.equal(bench.link.trouble(), signs.NONE)
    bench.net.trouble = signs.WRONG_PASSWORD
    check.equal(bench.link.trouble(), signs.WRONG_PASSWORD)
    bench.net.up = True
    bench.net.refuses = OSError("nobody")
    bench.poll(0)
    check.equal((bench.link.trouble(), bench.net.proofs), (signs.NO_GATEWAY, 0))
    bench.net.refuses = None
    bench.wait_ms()
    bench.upgrade(status=401)
    check.equal((bench.link.trouble(), bench.net.proofs), (signs.REFUSED, 0))
    bench.wait_ms()
    bench.online()
    check.equal((bench.link.trouble(), bench.net.proofs), (signs.NONE, 1))


def test_what_is_wrong_stays_so_while_it_is_tried_again():
    bench = Bench()
    bench.net.refuses = OSError("nobody")
    bench.poll(0)
    states = set()
    for _ in range(2000):  # as the node does: it looks after each turn
        bench.hand.turn(50)
        bench.link.poll(bench.clock.ticks())
        states.add(bench.link.state)
        check.equal(bench.link.trouble(), signs.NO_GATEWAY)
    check.true(WIFI in states and BACKOFF in states, states)


def test_with_tls_the_second_close_frame_ends_it_whoever_sent_it_first():
    for ours_first in (True, False):
        bench = Bench()
        bench.net.secure = True
        bench.net.shaken = 1000
        bench.online()
        if ours_first:
            bench.link.stop()
            bench.poll()
            check.equal(bench.link.state, CLOSING)
        bench.say(b"\x03\xe8", 0x88)
        bench.poll()
        check.equal(bench.link.state, IDLE if ours_first else BACKOFF)
        check.equal(bench.frames(), [(0x88, b"\x03\xe8")])
        check.equal(bench.net.open, False)


def test_what_tls_holds_back_is_read_as_soon_as_the_frame_in_its_way_has_gone():
    """No socket tells that there is something to read: TLS has taken it out of it."""
    bench = Bench()
    bench.online()
    bench.say({"type": "clock", "id": 1})
    bench.say({"type": "clock", "id": 2})
    write = bench.net.write
    tried = []

    def full_at_first(buf, at, size):
        tried.append(size)
        return None if len(tried) == 1 else write(buf, at, size)

    bench.net.write = full_at_first
    while bench.link.poll(bench.clock.ticks()) == 0:
        pass
    check.equal([frame["id"] for frame in bench.frames()], [1, 2])


def test_the_wait_between_tries_grows_up_to_30_s_and_is_random():
    bench = Bench()
    bench.net.refuses = OSError(111)
    waits = []
    for _ in range(12):
        bench.poll()
        waits.append(bench.wait_ms())
    check.equal(waits, [1000, 2000, 4000, 4000, 4000, 4000, 4000, 4000, 8000, 16000, 30000, 30000])
    check.equal(links.wait_before_retry_ms(3, bytes), 0)
    check.true(1900 < links.wait_before_retry_ms(3, lambda size: b"\x7f\xff\xff") < 2000)


def test_a_connection_that_held_ends_the_growth_of_the_waits():
    bench = Bench()
    for held_ms, wait_ms in ((0, 1000), (0, 2000), (5000, 4000), (11000, 1000)):
        bench.online()
        bench.poll(held_ms)
        bench.close(1001)
        check.equal(bench.wait_ms(), wait_ms)


def test_committed_above_next_draws_a_new_identity_and_keeps_the_samples():
    bench = Bench()
    bench.samples(3)
    bench.upgrade()
    bench.close(4010, b"committed above next")
    bench.wait_ms()
    hello = bench.online()
    check.equal(hello["boots"][0]["id"], "ff" * 8)
    check.equal((hello["boots"][0]["first"], hello["boots"][0]["next"]), (0, 3))


def test_a_welcome_that_says_so_itself_is_not_believed():
    bench = Bench()
    bench.samples(3)
    bench.upgrade()
    bench.welcome(committed=3)
    bench.poll()
    check.equal(bench.link.state, CLOSING)
    check.equal(bench.box.backlog(), 3)


def test_a_gateway_that_never_answers_is_given_up():
    for state, limit_ms in ((CONNECTING, 10000), (UPGRADING, 10000), (HELLO, 15000)):
        bench = Bench()
        if state == CONNECTING:
            bench.net.stands = False
            bench.poll(times=2)
        elif state == UPGRADING:
            bench.poll(times=4)
        else:
            bench.upgrade()
        check.equal(bench.link.state, state)
        bench.poll(limit_ms - 100)
        check.equal(bench.link.state, state)
        bench.poll(200)
        check.equal(bench.link.state, BACKOFF)


def test_a_broken_protocol_is_told_and_ends_the_connection():
    for data, code in (
        (b"\x83\x00", 1002),
        (b"\x81\x01\xff", 1007),
        (b"\x81\x7f\x00\x00\x00\x00\x00\x10\x00\x00", 1009),
    ):
        bench = Bench()
        bench.online()
        bench.net.incoming += data
        bench.poll(times=2)
        check.equal(bench.frames()[-1][1][:2], bytes((code >> 8, code & 255)))
        bench.net.ended = True
        bench.poll()
        check.equal(bench.link.state, BACKOFF)


def test_frames_that_make_no_sense_change_nothing():
    bench = Bench()
    bench.samples(2)
    bench.online()
    bench.frames()
    for message in (b"", b"null", b"[]", b'{"type":7}', b'{"type":"dance"}', b'{"type":"ack"}', b"[" * 300):
        bench.say(message)
        bench.poll()
    bench.say(b"rubbish", 0x82)
    bench.say({"type": "welcome", "window": 1, "boots": []})
    bench.poll()
    check.equal((bench.link.state, bench.frames(), bench.box.running.base), (ONLINE, [], 0))


def test_a_binary_echo_is_answered():
    bench = Bench()
    bench.online()
    bench.say(b"MG\x01\x00\x00\x00\x00\x07payload", 0x82)
    bench.poll()
    check.equal(bench.frames(), [(0x82, b"MG\x01\x00\x00\x00\x00\x07payload")])


def test_settings_are_all_refused_even_with_names_that_fit_into_no_answer():
    bench = Bench()
    bench.online()
    bench.say({"type": "settings", "desired": {"led": True}})
    bench.poll()
    check.equal(bench.frames(), [{"type": "settings", "reported": {}, "refused": {"led": "no such setting"}}])
    bench.say({"type": "settings", "desired": {"\U0001f600" * 63 + chr(65 + i): 1 for i in range(16)}})
    bench.poll()
    check.equal((bench.link.state, bench.frames()), (ONLINE, []))


def test_a_command_is_answered_until_the_answer_is_acknowledged():
    bench = Bench()
    bench.online()
    bench.say({"type": "command", "id": "c4a1", "name": "ping", "args": {}, "deadline_ms": 10000})
    bench.poll()
    check.equal(bench.frames()[0]["id"], "c4a1")
    bench.close(1001)
    bench.wait_ms()
    bench.upgrade()
    bench.welcome()
    bench.poll()
    check.equal([frame["type"] for frame in bench.frames()], ["hello", "result"])
    bench.say({"type": "ack", "result": "c4a1"})
    bench.poll()
    check.true(not bench.commands.pending())


def test_commands_beyond_the_bound_are_refused_at_once_and_the_others_answered():
    bench = Bench()
    bench.online()
    for i in range(33):
        bench.say({"type": "command", "id": f"c{i}", "name": "ping", "args": {}, "deadline_ms": 10000})
    bench.poll(times=20)
    results = {frame["id"]: frame for frame in bench.frames()}
    check.equal(len(results), 33)
    check.equal(results["c32"]["error"]["code"], "command.busy")
    check.true(all(results[f"c{i}"]["status"] == "done" for i in range(32)))


def test_losing_wifi_ends_the_connection_and_waits_for_wifi():
    bench = Bench()
    bench.online()
    bench.net.up = False
    bench.poll()
    bench.wait_ms()
    connects = bench.net.connects
    bench.poll(1000, times=20)
    check.equal((bench.link.state, bench.net.connects), (WIFI, connects))


def test_stop_closes_in_order_and_in_any_state():
    bench = Bench()
    bench.online()
    bench.link.stop()
    bench.poll(times=2)
    check.equal(bench.frames()[-1], (0x88, b"\x03\xe8"))
    bench.say(b"\x03\xe8", 0x88)
    bench.net.ended = True
    bench.poll(times=2)
    check.equal((bench.link.state, bench.net.open), (IDLE, False))
    for polls in range(4):
        bench = Bench()
        bench.poll(times=polls)
        bench.link.stop()
        check.equal(bench.link.state, IDLE)


def test_after_a_poll_torn_by_ctrl_c_it_connects_anew_and_sends_again():
    bench = Bench()
    bench.samples(3)
    bench.online()
    bench.box.running.sent = 3
    bench.link._ws.tx_end += 7  # half a frame
    bench.link.again()
    check.true(not bench.net.open)
    bench.online()
    check.equal((bench.box.running.base, bench.box.running.sent), (0, 3))


def test_stop_does_not_wait_for_a_gateway_that_is_gone():
    bench = Bench()
    bench.online()
    bench.link.stop()
    bench.poll(1000, times=4)
    check.equal(bench.link.state, IDLE)


def test_every_state_can_be_left_and_reached():
    for state in TRANSITIONS:
        check.true(TRANSITIONS[state], state)
        check.true(any(state in after for after in TRANSITIONS.values()), state)


check.run(globals())
