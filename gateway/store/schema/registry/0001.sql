-- Small values with a revision each. A deleted key stays as a row without value, so that its revision never goes back.

CREATE TABLE entries (
    key      TEXT PRIMARY KEY,
    value    BLOB,
    revision INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
