"""Pure: inner loops over bytes, none of which allocates. Plain versions; `viper.py` has the same in machine code."""


def mask(buf, start, end, key):
    """XORs buf[start:end] in place with the 4 bytes of `key` in turn (RFC 6455, section 5.3)."""
    for i in range(start, end):
        buf[i] ^= key[(i - start) & 3]


def utf8(state, buf, start, end):
    """Follows UTF-8 through buf[start:end], 0 being the state between two characters. Returns the state after it, or
    -1 at the first byte that no valid text can have there (RFC 3629: not overlong, no surrogate, none above U+10FFFF).

    States 1 to 3: so many plain continuation bytes are missing; 4 to 7: after E0, ED, F0, F4, which narrow the next.
    """
    for i in range(start, end):
        c = buf[i]
        if state == 0:
            if c < 0x80:
                continue
            if c < 0xC2 or c > 0xF4:
                return -1
            if c < 0xE0:
                state = 1
            elif c < 0xF0:
                state = 4 if c == 0xE0 else 5 if c == 0xED else 2
            else:
                state = 6 if c == 0xF0 else 7 if c == 0xF4 else 3
        else:
            low = 0xA0 if state == 4 else 0x90 if state == 6 else 0x80
            high = 0x9F if state == 5 else 0x8F if state == 7 else 0xBF
            if not low <= c <= high:
                return -1
            state = state - 1 if state < 4 else 1 if state < 6 else 2
    return state


def put(buf, at, source):
    """Copies all of `source` to buf[at:]; returns the index behind it. IndexError where it does not fit."""
    for i in range(len(source)):
        buf[at + i] = source[i]
    return at + len(source)


def number(buf, at, value, decimals):
    """Writes `value` / 10^decimals to buf[at:] with just as many digits behind the point (2150, 2: 21.50); a small int.
    Returns the index behind it. IndexError where it does not fit."""
    if value < 0:
        buf[at] = 45
        at += 1
        value = -value
    end = at + 1
    rest = value // 10
    while rest:
        rest //= 10
        end += 1
    point = -1
    if decimals:
        end = max(end, at + decimals + 1) + 1
        point = end - decimals - 1
    i = end
    while i > at:
        i -= 1
        if i == point:
            buf[i] = 46
        else:
            buf[i] = 48 + value % 10
            value //= 10
    return end


plain = (mask, utf8, put, number)
try:
    from device.viper import mask, utf8, put, number
except (ImportError, SyntaxError, ValueError):  # no viper on this port: SyntaxError; for this processor: the others
    pass
chosen = (mask, utf8, put, number)
