-- Version 4. An origin that forked has two entries at one place of its chain.

ALTER TABLE entries ADD COLUMN branch INTEGER NOT NULL DEFAULT 0;  -- 0: of the chain; else beside it, not shown
DROP INDEX entries_place;
CREATE UNIQUE INDEX entries_place ON entries (room, origin, seq, branch);
CREATE INDEX entries_beside ON entries (room, origin, num) WHERE branch > 0;
