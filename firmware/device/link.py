"""Pure: the connection to the gateway as a state machine (mirror of gateway/device/session.py; gateway/device/WIRE.md).

It decides and writes bytes; `net` does what touches Wi-Fi and sockets:

    net.secure                 whether the gateway is to speak TLS
    net.wifi(now)              True while there is Wi-Fi; works towards it otherwise
    net.trouble                what is wrong with it (device/signs.py)
    net.connect(tries)         begins to connect; OSError
    net.proved()               what answers is the gateway: so that it can be found again
    net.connected()            True once the connection stands; OSError where it failed
    net.shake(buf)             TLS: bytes of buf taken, 0 until the gateway is verified; OSError, Untrusted
    net.set_date(unix_ms)      what the gateway says it is; Untrusted where its certificate has expired by that
    net.read_into(buf)         bytes read, None: nothing there now, 0: the other side has closed; OSError
    net.write(buf, at, size)   bytes taken or None; OSError
    net.close()
"""

from micropython import const

from device import VERSION, signs, wire
from device.bootfile import Boot, new_boot_id
from device.clock import sooner, ticks_add, ticks_diff
from device.log import clean
from device.websocket import BINARY, CLOSE, HEAD, PING, PONG, TEXT, Opening, ProtocolError, WebSocket

IDLE = "idle"
WIFI = "wifi"
CONNECTING = "connecting"
SECURING = "securing"
UPGRADING = "upgrading"
HELLO = "hello"
ONLINE = "online"
CLOSING = "closing"
BACKOFF = "backoff"

TRANSITIONS = {
    IDLE: (WIFI,),
    WIFI: (CONNECTING, BACKOFF, IDLE),
    CONNECTING: (SECURING, UPGRADING, BACKOFF, IDLE),
    SECURING: (UPGRADING, BACKOFF, IDLE),
    UPGRADING: (HELLO, BACKOFF, IDLE),
    HELLO: (ONLINE, CLOSING, BACKOFF, IDLE),
    ONLINE: (CLOSING, BACKOFF, IDLE),
    CLOSING: (BACKOFF, IDLE),
    BACKOFF: (WIFI, IDLE),
}

FRAME_BYTES = const(4096)  # the largest frame we send
_MAX_MESSAGE = const(16384)  # the largest we take
_DEADLINE_MS = {CONNECTING: 10000, SECURING: 10000, UPGRADING: 10000, HELLO: 15000, CLOSING: 2000}
_WAIT_MS = const(1000)  # nothing in here is due more exactly than that
_WIFI_WAIT_MS = const(100)
_SECURING_WAIT_MS = const(50)  # TLS does not tell whether it waits to read or, which is rare, to write
_PING_MS = const(15000)
_PONG_MS = const(10000)
_STUCK_MS = const(25000)  # no byte went for so long: as late as a ping would tell, and none can be sent meanwhile
_STEADY_MS = const(10000)  # a connection that lasted so long ends the growth of the waits between tries
_LATEST_MS = const(1000)
_RETRY_MS = const(5000)  # after an error that asks for patience
_REFUSED_MS = const(2000)  # after one that may have been about a record: its acknowledgement may still come
_STALL_MS = const(60000)  # no acknowledgement for so long: send again
_LONGEST_WAIT_MS = const(30000)
_READS = const(8)  # per poll, so that sampling goes on
_FRAMES = const(4)
_HOPELESS = (4003, 4004, 4010, 4011, 4012)  # trying again soon will not help: at least 30 s
_COMMITTED_ABOVE_NEXT = const(4010)


class Untrusted(Exception):
    """What answers is not to be trusted as our gateway, and only a person can mend that. The text says how."""


class Identity:
    """Who we are and where the gateway is."""

    def __init__(self, device, hardware, node, tokens, host, port):
        self.device = device
        self.hardware = hardware
        self.node = node
        self.tokens = tokens
        self.host = host
        self.port = port


class Link:
    def __init__(self, identity, outbox, sampler, commands, net, clock, urandom, log):
        self.state = IDLE
        self._identity = identity
        self._outbox = outbox
        self._sampler = sampler
        self._commands = commands
        self._net = net
        self._clock = clock
        self._urandom = urandom
        self._log = log
        self._ws = WebSocket(urandom, FRAME_BYTES, _MAX_MESSAGE)
        self._out = wire.Writer(self._ws.tx, HEAD)
        self._rx = bytearray(1024)
        self._rx_at = self._rx_end = 0
        self._opening = None
        self._opening_at = 0
        self._tries = 0
        self._deadline = 0  # of the state, as ticks
        self._close_code = 0  # what the connection ended with
        self._stop_code = 0  # with what the node wants it to end, 0: not at all
        self._sleep_ms = None  # what the gateway is told before that, None: nothing
        self._window = 0
        self._trouble = signs.NONE  # of the last try
        self._forget()

    # -- for the node --------------------------------------------------------------------------------------------------

    def start(self):
        """Connects, and connects again, until `stop`."""
        self._go(WIFI)

    def stop(self, code=1000, sleep_ms=None):
        """Ends the connection in order. Not `busy` any more when that is done, within 2 s of `poll`. `sleep_ms`: the
        gateway is told when to expect us again."""
        self._sleep_ms = sleep_ms
        if self.state in (HELLO, ONLINE, CLOSING):
            self._stop_code = code
        elif self.state != IDLE:
            self._net.close()
            self._go(IDLE)

    def again(self):
        """Begins anew at once: Ctrl-C has torn the last `poll`, and nothing of the connection can be relied on."""
        self._net.close()
        if self.state != IDLE:
            self.state = WIFI

    def online(self):
        """Whether the gateway is there."""
        return self.state == ONLINE

    def trouble(self):
        """Why the gateway is not there (device/signs.py); NONE while it is, or before the first try has ended. The next
        try begins with Wi-Fi, and while that is well, what ended the last one is still what is wrong."""
        return self._net.trouble if self.state == WIFI and self._net.trouble else self._trouble

    def busy(self):
        """Whether there is, or is to be, a connection."""
        return self.state != IDLE

    def said_all(self):
        """Whether nothing waits to be sent but records and results."""
        return self._ws.idle() and not self._log.waiting()

    def sending(self):
        """Whether the socket's readiness to send is what we wait for (else: to receive)."""
        if self.state == UPGRADING:
            return self._opening_at < len(self._opening.request)
        return self.state == CONNECTING or not self._ws.idle()

    def poll(self, now):
        """Does what can be done without waiting. Returns ms until the next call; sooner if the socket is ready."""
        try:
            return self._polls[self.state](self, now)
        except ProtocolError as error:
            self._broken(error, now)
        except Untrusted as error:
            self._lost(str(error), now, signs.UNTRUSTED)
        except OSError as error:
            self._lost("lost: %s" % error, now)
        return 0

    # -- states --------------------------------------------------------------------------------------------------------

    def _go(self, state, now=0):
        if state not in TRANSITIONS[self.state]:
            raise ValueError("link: from %s to %s" % (self.state, state))
        self.state = state
        if state in _DEADLINE_MS:
            self._deadline = ticks_add(now, _DEADLINE_MS[state])

    def _late(self, now):
        return ticks_diff(now, self._deadline) >= 0

    def _idle(self, now):
        return _WAIT_MS

    def _wifi(self, now):
        if not self._net.wifi(now):
            return _WIFI_WAIT_MS
        self._go(CONNECTING, now)
        self._net.connect(self._tries)  # may block for seconds: names are looked up
        self._deadline = ticks_add(self._clock.ticks(), _DEADLINE_MS[CONNECTING])
        return 0

    def _connecting(self, now):
        if self._net.connected():
            who = self._identity
            headers = (("Authorization", "Bearer " + who.tokens.now()),)
            self._opening = Opening(who.host, who.port, wire.SUBPROTOCOL, self._urandom, headers=headers)
            self._opening_at = 0
            self._forget()
            self._go(SECURING if self._net.secure else UPGRADING, now)
            return 0
        if self._late(now):
            self._lost("no answer from %s:%d" % (self._net.places.now, self._identity.port), now)
        return _WAIT_MS

    def _securing(self, now):
        """The first bytes that go through TLS are those of the upgrade: they go when the gateway is verified."""
        self._opening_at = self._net.shake(self._opening.request)
        if self._opening_at:
            self._go(UPGRADING, now)
            return 0
        if self._late(now):
            self._lost("TLS: no answer to the handshake: the gateway is slow, or speaks no TLS", now)
        return _SECURING_WAIT_MS

    def _upgrading(self, now):
        request = self._opening.request
        if self._opening_at < len(request):
            size = len(request) - self._opening_at
            self._opening_at += self._net.write(request, self._opening_at, size) or 0
        elif self._read():
            self._rx_at = self._opening.feed(self._rx, self._rx_at, self._rx_end)
            if self._opening.done:
                self._opening = None
                self._go(HELLO, now)
                who = self._identity
                who.tokens.taken()
                t_ms = self._clock.uptime_ms()
                boots = [(boot, self._outbox.newest_ms(boot)) for boot in self._outbox.boots()]
                wire.hello(self._out.clear(), who.device, who.hardware, who.node, VERSION, t_ms, boots)
                self._ws.seal(TEXT, self._out.at)
            return 0
        if self._late(now):
            self._lost("the gateway did not answer the handshake", now)
        return _WAIT_MS

    def _hello(self, now):
        more = self._receive(now)
        if self.state == HELLO and not more and self._late(now):
            self._lost("no welcome from the gateway", now)
        return 0 if more else self._stopping(now)

    def _online(self, now):
        more = self._receive(now)
        if self.state != ONLINE:
            return 0
        if self._tries and ticks_diff(now, self._online_since) >= _STEADY_MS:
            self._tries = 0
        frames = 0
        while frames < _FRAMES and self._flush(now) and self._next_frame(now):
            frames += 1
        if not more and self._pong_due is not None and ticks_diff(now, self._pong_due) >= 0:
            self._lost("the gateway does not answer", now)
        elif not self._net.wifi(now):
            self._lost("Wi-Fi is gone", now)
        if more or frames == _FRAMES or self._unread and self._ws.idle():
            return 0
        return self._stopping(now)

    def _stopping(self, now):
        if self._stop_code and self._ws.idle() and self.state in (HELLO, ONLINE):
            if self._sleep_ms is not None and self.state == ONLINE:
                wire.sleep(self._out.clear(), self._sleep_ms)
                self._ws.seal(TEXT, self._out.at)
                self._sleep_ms = None
                return 0
            self._close(self._stop_code, "", now)
            return 0
        return _WAIT_MS

    def _closing(self, now):
        """Our close frame goes out; then theirs is awaited, and that they close the connection, as servers do. TLS does
        not tell that for sure: MicroPython loses its goodbye where it comes with the last bytes."""
        flushed = self._flush(now)
        if flushed and self._net.secure and self._ws.event == CLOSE:
            self._ended(now)
            return 0
        size = self._net.read_into(self._rx) if flushed else None
        if size and not self._broke and self._ws.event != CLOSE:
            at = 0
            while at < size and self._ws.event != CLOSE:
                at = self._ws.feed(self._rx, at, size)
                if self._ws.event == CLOSE and not self._close_code:
                    self._close_code = self._ws.close_code
        if size == 0 or self._late(now):
            self._ended(now)
            return 0
        if size:  # there may be more, which TLS holds already
            return 0
        return sooner(_WAIT_MS, self._deadline, now)

    def _backoff(self, now):
        if self._late(now):
            self._go(WIFI)
            return 0
        return sooner(_WAIT_MS, self._deadline, now)

    _polls = {
        IDLE: _idle,
        WIFI: _wifi,
        CONNECTING: _connecting,
        SECURING: _securing,
        UPGRADING: _upgrading,
        HELLO: _hello,
        ONLINE: _online,
        CLOSING: _closing,
        BACKOFF: _backoff,
    }

    # -- the end of a connection ---------------------------------------------------------------------------------------

    def _forget(self):
        """What belonged to the connection before."""
        self._ws.reset()
        self._rx_at = self._rx_end = 0
        self._unread = False  # something may have come that nobody took, as a frame of ours did not go
        self._close_code = 0
        self._broke = False
        self._ping_due = 0
        self._pong_due = None
        self._stuck_due = None  # set while bytes wait and the socket takes none
        self._latest_due = 0
        self._online_since = 0
        self._hold_until = None  # no records before that: the gateway asked for patience, or may have refused one
        self._suspected = False  # a record in flight may have been refused
        self._probing = False  # the only frame in flight is the suspect
        self._progress = 0  # when something was acknowledged last, or sent with nothing under way

    def _close(self, code, reason, now):
        self._ws.send_close(code, reason.encode())
        self._go(CLOSING, now)

    def _broken(self, error, now):
        """The gateway broke the protocol, or refused us with an HTTP status."""
        self._log("warning", "link: %s" % error)
        if self.state in (HELLO, ONLINE) and self._ws.idle():
            self._broke = True
            self._close_code = error.code
            self._close(error.code, str(error)[:100], now)
        else:
            refused = error.status == 401 and not self._identity.tokens.refused()
            self._ended(now, signs.REFUSED if refused else signs.NO_GATEWAY)

    def _lost(self, text, now, trouble=signs.NO_GATEWAY):
        self._log("warning", "link: " + text)
        self._ended(now, trouble)

    def _ended(self, now, trouble=signs.NO_GATEWAY):
        self._net.close()
        self._trouble = signs.REFUSED if self._close_code in _HOPELESS else trouble
        if self._stop_code:
            self._stop_code = 0
            self._go(IDLE)
            return
        if self._close_code == _COMMITTED_ABOVE_NEXT:
            boot = self._outbox.running
            self._outbox.rename(Boot(boot.number, new_boot_id(self._urandom), boot.profile))
        wait_ms = wait_before_retry_ms(self._tries, self._urandom)
        if self._trouble != signs.NO_GATEWAY and not self._net.places.is_hint():
            wait_ms += _LONGEST_WAIT_MS  # only a person can mend it
        self._tries += 1
        self._go(BACKOFF)
        self._deadline = ticks_add(self._clock.ticks(), wait_ms)  # `now` may be old: TLS takes its time
        self._log("info", "link: trying again in %d.%d s" % (wait_ms // 1000, wait_ms % 1000 // 100))

    # -- in ------------------------------------------------------------------------------------------------------------

    def _read(self):
        """Whether there are received bytes that nobody has looked at. OSError where the other side has closed."""
        if self._rx_at < self._rx_end:
            return True
        size = self._net.read_into(self._rx)
        if size == 0:
            raise OSError("the gateway closed the connection")
        self._rx_at = 0
        self._rx_end = size or 0
        return self._rx_end > 0

    def _receive(self, now):
        """Takes what has come, but only while nothing of ours waits to be sent: each frame may need an answer, and
        there is one buffer. Returns whether there may be more."""
        reads = 0
        state = self.state
        self._unread = False
        while self._flush(now):
            if self._rx_at == self._rx_end:
                if reads == _READS:
                    return True
                reads += 1
            if not self._read():
                return False
            self._rx_at = self._ws.feed(self._rx, self._rx_at, self._rx_end)
            if self._ws.event:
                self._handle(now)
                if self.state != state:
                    return True
        self._unread = True
        return False

    def _handle(self, now):
        ws = self._ws
        if ws.event == TEXT:
            try:
                kind, fields = wire.decode(ws.payload())
            except wire.Refused as error:
                self._log("warning", "link: a frame from the gateway is ignored: %s" % error)
            else:
                self._messages[kind](self, fields, now)
        elif ws.event == PING:
            ws.send(PONG, ws.payload())
        elif ws.event == PONG:
            self._pong_due = None
        elif ws.event == BINARY:
            self._binary(ws.payload())
        else:
            self._close_code = ws.close_code
            self._log("warning", "link: closed by the gateway: %d %s" % (ws.close_code, ws.close_reason()))
            self._close(ws.close_code, "", now)

    def _binary(self, payload):
        """Bulk (WIRE.md, section 10). Kind 0 is an echo; others are not ours to know yet."""
        if len(payload) >= 8 and bytes(payload[:4]) == b"MG\x01\x00" and len(payload) <= FRAME_BYTES:
            self._ws.send(BINARY, payload)
        else:
            self._log("warning", "link: a binary frame from the gateway is ignored")

    def _welcome(self, fields, now):
        if self.state != HELLO:
            return
        if fields["time"] is not None:
            self._net.set_date(fields["time"])
        if not self._outbox.resume({boot["boot"]: boot["committed"] for boot in fields["boots"]}):
            self._close_code = _COMMITTED_ABOVE_NEXT
            self._close(1002, "committed above next", now)
            return
        self._window = fields["window"]
        self._commands.resume()
        self._online_since = self._progress = self._latest_due = now
        self._ping_due = ticks_add(now, _PING_MS)
        self._go(ONLINE)
        self._trouble = signs.NONE
        self._net.proved()
        self._log("info", "link: connected to %s:%d" % (self._net.places.now, self._identity.port))

    def _ack(self, fields, now):
        if fields["result"] is not None:
            self._commands.ack(fields["result"])
        else:
            if not self._outbox.ack(fields["boot"], fields["seq"]):
                self._log("warning", "link: an ack of something never sent is ignored")
            self._progress = now
            if not self._outbox.under_way():
                self._hold_until = None
                self._suspected = self._probing = False

    def _clock_request(self, fields, now):
        wire.clock(self._out.clear(), fields["id"], self._clock.uptime_ms())
        self._ws.seal(TEXT, self._out.at)

    def _command(self, fields, now):
        refusal = self._commands.execute(fields, now)
        if refusal is not None:  # nothing keeps it, so it goes now
            self._out.clear().raw(refusal)
            self._ws.seal(TEXT, self._out.at)

    def _settings(self, fields, now):
        try:
            wire.settings(self._out.clear(), {clean(name): "no such setting" for name in fields["desired"]})
        except IndexError:  # names chosen so that their answer fits into no frame of ours
            self._log("warning", "link: settings with too long names are ignored")
        else:
            self._ws.seal(TEXT, self._out.at)

    def _token(self, fields, now):
        """A new token: it is on flash before this connection ends, and the next one shows it."""
        tokens = self._identity.tokens
        if fields["token"] == tokens.now():
            return
        try:
            tokens.rotate(fields["token"])
        except OSError as error:
            self._log("warning", "link: the new token cannot be written (%s), so the old one stays" % error)
        else:
            self._log("info", "link: a new token")
            self._close(1000, "", now)

    def _error(self, fields, now):
        code = fields["code"]
        self._log("warning", "the gateway says: %s: %s" % (code, fields["text"] or ""))
        outbox = self._outbox
        if not outbox.under_way():
            return  # nothing with a number is under way
        if fields["retry"] or code == "frame.rate":
            self._hold_until = ticks_add(now, _RETRY_MS)
        elif code.startswith("frame."):
            if self._probing:
                outbox.refuse()
                self._hold_until = None
                self._suspected = self._probing = False
                outbox.put_event(self._clock.uptime_ms(), wire.event_body("frame.refused", data={"code": code}))
            elif not self._suspected:
                self._suspected = True
                self._hold_until = ticks_add(now, _REFUSED_MS)

    _messages = {
        "welcome": _welcome,
        "ack": _ack,
        "clock": _clock_request,
        "command": _command,
        "settings": _settings,
        "token": _token,
        "error": _error,
    }

    # -- out -----------------------------------------------------------------------------------------------------------

    def _flush(self, now):
        """Sends what is ready. Whether all of it went. OSError where not a byte went for too long: no ping can be made
        behind what waits, so this is how a gateway is noticed that went away while the socket was full."""
        ws = self._ws
        if ws.tx_at < ws.tx_end:
            taken = self._net.write(ws.tx, ws.tx_at, ws.tx_end - ws.tx_at) or 0
            ws.tx_at += taken
            if taken:
                self._stuck_due = None
            elif self._stuck_due is None:
                self._stuck_due = ticks_add(now, _STUCK_MS)
            elif ticks_diff(now, self._stuck_due) >= 0:
                raise OSError("the gateway takes nothing any more")
        return ws.tx_at == ws.tx_end

    def _next_frame(self, now):
        """Makes the most urgent frame there is. False where there is none."""
        ws = self._ws
        if ticks_diff(now, self._ping_due) >= 0:
            self._ping_due = ticks_add(now, _PING_MS)
            if self._pong_due is None:
                self._pong_due = ticks_add(now, _PONG_MS)
            ws.send(PING, b"")
            return True
        out = self._out.clear()
        result = self._commands.next_result()
        if result is not None:
            out.raw(result)
        elif not self._latest(out, now) and not self._records(out.clear(), now):
            line = self._log.next_line()
            if line is None:
                return False
            wire.log(out.clear(), *line)
        ws.seal(TEXT, out.at)
        return True

    def _latest(self, out, now):
        """Keeps the live value fresh while there is more to send than may be under way."""
        if ticks_diff(now, self._latest_due) < 0:
            return False
        self._latest_due = ticks_add(now, _LATEST_MS)
        if self._outbox.backlog() <= self._window:
            return False
        box = self._outbox
        return box.own_columns.latest(out, box.running, self._sampler.newest_ms(), self._sampler.newest)

    def _records(self, out, now):
        """The next records, within the window."""
        outbox = self._outbox
        if self._hold_until is not None:
            if ticks_diff(now, self._hold_until) < 0 or self._probing:
                return False
            self._hold_until = None
            outbox.rewind()
        elif outbox.under_way() and ticks_diff(now, self._progress) >= _STALL_MS:
            self._log("warning", "link: nothing was acknowledged for a minute: sending again")
            self._probing = False
            outbox.rewind()
        under_way = outbox.under_way()
        if under_way >= self._window or self._probing:
            return False
        if not outbox.load(self._window - under_way):
            return False
        wire.record(out, outbox)
        if not under_way:
            self._progress = now
        outbox.mark_sent()
        if self._suspected:
            self._probing = True
        return True


def wait_before_retry_ms(tries, urandom):
    """Random over the whole span: every board lost the gateway at the same moment. The span is 1, 2, then 4 s for six
    tries: a gateway that restarts is away for so long, and 200 boards are back within 10 s of it. Then it doubles."""
    span = min(_LONGEST_WAIT_MS, 1000 << min(max(min(tries, 2), tries - 5), 5))
    random = urandom(3)
    return (random[0] << 16 | random[1] << 8 | random[2]) * span >> 24
