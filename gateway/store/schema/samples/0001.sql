-- The log of committed batches and what is counted about it.
--
-- `batches.id` is the place in the log that cursors name, so an id is never used twice: whoever deletes the newest rows
-- must leave `meta.highest_id` behind. It is not AUTOINCREMENT, because that costs one more page in every commit.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO meta VALUES ('log', lower(hex(randomblob(8))));  -- which log this is: a replaced file never confuses a cursor
INSERT INTO meta VALUES ('highest_id', 0);

CREATE TABLE devices (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- Kept for ever: they are what makes a repeat recognisable.
CREATE TABLE boots (
    id          INTEGER PRIMARY KEY,
    device      INTEGER NOT NULL REFERENCES devices,
    boot_id     TEXT NOT NULL,
    boot        INTEGER NOT NULL,
    through     INTEGER NOT NULL,   -- highest committed seq
    ended       INTEGER NOT NULL,   -- 1 once an open gap is committed
    samples     INTEGER NOT NULL,   -- from here on: counted since ever, whatever retention deletes
    events      INTEGER NOT NULL,
    gaps        INTEGER NOT NULL,
    lost        INTEGER NOT NULL,   -- samples the gaps stand for, at most ...
    uncertain   INTEGER NOT NULL,   -- ... and how many of these are only a bound
    quarantined INTEGER NOT NULL,   -- values and frames
    UNIQUE (device, boot_id)
) STRICT;

CREATE TABLE batches (
    id          INTEGER PRIMARY KEY,
    device      INTEGER NOT NULL REFERENCES devices,
    boot        INTEGER NOT NULL REFERENCES boots,
    first       INTEGER NOT NULL,
    last        INTEGER NOT NULL,
    at_first_ms INTEGER,            -- earliest and latest time in it, at most ten minutes apart; NULL where nothing has a time
    at_last_ms  INTEGER,
    offset_ms   INTEGER NOT NULL,
    quality     TEXT NOT NULL,
    received_ms INTEGER NOT NULL,
    profile     TEXT NOT NULL,
    notable     INTEGER NOT NULL,   -- records that are no plain samples
    body        BLOB NOT NULL       -- MessagePack of the records (gateway/model.py)
) STRICT;

CREATE INDEX batches_by_time ON batches (device, at_last_ms);
CREATE INDEX batches_notable ON batches (device) WHERE notable > 0;

-- What validation refused; bounded per device, the oldest go first (boots.quarantined tells how many there ever were).
CREATE TABLE quarantine (
    id       INTEGER PRIMARY KEY,
    device   INTEGER NOT NULL REFERENCES devices,
    boot_id  TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    quantity TEXT,                  -- NULL where a whole frame was refused
    value    TEXT NOT NULL,
    code     TEXT NOT NULL,
    reason   TEXT NOT NULL,
    at_ms    INTEGER NOT NULL
) STRICT;

CREATE INDEX quarantine_by_device ON quarantine (device);
