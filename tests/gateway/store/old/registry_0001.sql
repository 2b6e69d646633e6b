-- registry.db of schema 1, as `iterdump` gives it. Kept to test migrations: never changed.
PRAGMA application_id = 1297106775;
PRAGMA user_version = 1;
BEGIN TRANSACTION;
CREATE TABLE entries (
    key      TEXT PRIMARY KEY,
    value    BLOB,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO "entries" VALUES('device/greenhouse',X'7B226E6F6465223A22636C696D6174652D6E6F6465227D',1);
INSERT INTO "entries" VALUES('gone',NULL,2);
INSERT INTO "entries" VALUES('holder/cellar',X'67772D31',1);
INSERT INTO "entries" VALUES('holder/greenhouse',X'67772D31',1);
COMMIT;
