-- samples.db of schema 2, as `iterdump` gives it. Kept to test migrations: never changed.
PRAGMA application_id = 1297106775;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
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
INSERT INTO "batches" VALUES(1,1,1,0,4,1790000000000,1790000004000,1790000000000,'synced',1790000000999,'5a0f9c3be1d27718',1,X'9595A173000081AB74656D7065726174757265CB40340000000000009095A17301CD03E881AB74656D7065726174757265CB4034028F5C28F5C39095A17302CD07D081AB74656D7065726174757265CB4034051EB851EB859095A17303CD0BB881A868756D6964697479CB40484000000000009194AB74656D7065726174757265A53134302E32AB76616C75652E72616E6765D92474656D7065726174757265203134302E32206973206F757473696465202D34302E2E383596A16504CD0FA0A4626F6F74C081AB72657365745F636175736501');
INSERT INTO "batches" VALUES(2,1,1,5,11,1790000010000,1790000010000,1790000000000,'estimated',1790000000999,'5a0f9c3be1d27718',2,X'9396A167050905C0A466756C6C95A1730ACD271081AB74656D7065726174757265CB403419999999999A9096A1670BC0C007AA706F7765725F6C6F7373');
INSERT INTO "batches" VALUES(3,2,2,0,0,1790000000000,1790000000000,1790000000000,'synced',1790000000999,'5a0f9c3be1d27718',0,X'9195A173000081AB74656D7065726174757265CB402900000000000090');
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
    quarantined INTEGER NOT NULL, zero_ms INTEGER, last_at_ms INTEGER, last_guess_ms INTEGER, restored INTEGER NOT NULL DEFAULT 0,   -- values and frames
    UNIQUE (device, boot_id)
) STRICT;
INSERT INTO "boots" VALUES(1,1,'9f3c11d2c01b6a55',17,11,1,5,1,2,12,7,1,1790000000000,1790000004000,1790000010000,0);
INSERT INTO "boots" VALUES(2,2,'0c5d9be1f2a34477',1,0,0,1,0,0,0,0,0,1790000000000,1790000000000,NULL,0);
CREATE TABLE devices (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
, pruned INTEGER NOT NULL DEFAULT 0) STRICT;
INSERT INTO "devices" VALUES(1,'greenhouse',0);
INSERT INTO "devices" VALUES(2,'cellar',0);
CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "meta" VALUES('highest_id',0);
INSERT INTO "meta" VALUES('log','3d37ffb78815ad28');
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
INSERT INTO "quarantine" VALUES(1,1,'9f3c11d2c01b6a55',3,'temperature','140.2','value.range','temperature 140.2 is outside -40..85',1790000003000);
CREATE TABLE untaken (
    outlet  TEXT PRIMARY KEY,
    samples INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX batches_by_time ON batches (device, at_last_ms);
CREATE INDEX batches_notable ON batches (device) WHERE notable > 0;
CREATE INDEX quarantine_by_device ON quarantine (device);
CREATE INDEX batches_estimated ON batches (boot) WHERE quality = 'estimated';
COMMIT;
