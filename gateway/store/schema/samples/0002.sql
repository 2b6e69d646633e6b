-- When each boot began and how far it goes, kept beside its count so that a hello costs no search; and what a restore
-- and retention must remember.

ALTER TABLE boots ADD COLUMN zero_ms INTEGER;        -- offset_ms of its newest batch that is not estimated
ALTER TABLE boots ADD COLUMN last_at_ms INTEGER;     -- latest time in those batches; only grows
ALTER TABLE boots ADD COLUMN last_guess_ms INTEGER;  -- latest time in its estimated batches; NULL once all are corrected
ALTER TABLE boots ADD COLUMN restored INTEGER NOT NULL DEFAULT 0;  -- 1: known from a backup, and nothing committed since

UPDATE boots SET zero_ms = newest.offset_ms FROM (
    SELECT boot, offset_ms, max(id) FROM batches WHERE quality <> 'estimated' GROUP BY boot  -- offset_ms of that row
) AS newest WHERE newest.boot = boots.id;

UPDATE boots SET last_at_ms = latest.at_ms FROM (
    SELECT boot, max(at_last_ms) AS at_ms FROM batches WHERE quality <> 'estimated' GROUP BY boot
) AS latest WHERE latest.boot = boots.id;

UPDATE boots SET last_guess_ms = latest.at_ms FROM (
    SELECT boot, max(at_last_ms) AS at_ms FROM batches WHERE quality = 'estimated' GROUP BY boot
) AS latest WHERE latest.boot = boots.id;

-- What can still be corrected. It costs a commit nothing where the clock is known.
CREATE INDEX batches_estimated ON batches (boot) WHERE quality = 'estimated';

-- Samples that retention deleted, counted since ever.
ALTER TABLE devices ADD COLUMN pruned INTEGER NOT NULL DEFAULT 0;

-- Samples that an outlet had not taken when they were deleted, counted since ever.
CREATE TABLE untaken (
    outlet  TEXT PRIMARY KEY,
    samples INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
