-- Version 3. When an entry came, and how far people have read.

ALTER TABLE entries ADD COLUMN arrived_ms INTEGER;  -- Unix time; NULL: it was not noted

-- Each as the person and the device signed it.
CREATE TABLE receipts (
  room   INTEGER NOT NULL,
  device BLOB NOT NULL,
  person BLOB NOT NULL,
  name   TEXT NOT NULL,
  up_to  INTEGER NOT NULL,
  signed BLOB NOT NULL,
  sig    BLOB NOT NULL,
  PRIMARY KEY (room, device, person)
) WITHOUT ROWID;
