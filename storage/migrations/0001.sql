-- Version 1. Rooms and origins are named by small numbers inside the database.

CREATE TABLE rooms (
  num     INTEGER PRIMARY KEY,
  id      BLOB NOT NULL UNIQUE,
  listed  INTEGER NOT NULL DEFAULT 0,  -- 0: only entries or keys have named it
  total   INTEGER NOT NULL DEFAULT 0,  -- lines that are no repeats
  name    TEXT NOT NULL DEFAULT '',
  state   TEXT NOT NULL DEFAULT '',
  reason  TEXT NOT NULL DEFAULT '',
  invite  TEXT NOT NULL DEFAULT '',
  via     BLOB,
  target  BLOB,                        -- origin and uvarint seq, repeated
  read_to BLOB,
  mode    INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE origins (
  num    INTEGER PRIMARY KEY,
  origin BLOB NOT NULL UNIQUE,
  tag    TEXT NOT NULL
);
CREATE INDEX origins_tag ON origins (tag);

-- What was accepted, exactly as it was signed, and what people read of it; num is
-- the order of acceptance.
CREATE TABLE entries (
  num        INTEGER PRIMARY KEY,
  room       INTEGER NOT NULL,
  origin     INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  run        INTEGER NOT NULL,  -- on the last entry of a run its length, else 0
  sig        BLOB,              -- of that run
  key        BLOB,              -- place in the predicted order; NULL: no line in the history
  stamp      INTEGER,           -- of a readable line: digest of client key and client id
  payload    INTEGER,           -- with it: digest of what that client signed
  repeated   INTEGER NOT NULL,  -- 1: the same words stand earlier in the order
  readable   INTEGER NOT NULL,
  sealed_by  BLOB,              -- the room key's id
  sender_key BLOB,
  reply      BLOB,              -- origin and seq
  sender     TEXT NOT NULL,
  text       TEXT NOT NULL,
  bytes      BLOB NOT NULL
);
CREATE UNIQUE INDEX entries_place ON entries (room, origin, seq);
CREATE INDEX entries_room ON entries (room);
CREATE INDEX lines_shown ON entries (room, key) WHERE repeated = 0 AND key IS NOT NULL;
CREATE UNIQUE INDEX lines_stamp ON entries (room, stamp, payload) WHERE repeated = 0 AND stamp IS NOT NULL;
CREATE INDEX lines_sealed ON entries (room, sealed_by) WHERE readable = 0 AND sealed_by IS NOT NULL;

CREATE VIRTUAL TABLE words USING fts5 (
  text, content = 'entries', content_rowid = 'num', columnsize = 0,
  tokenize = 'unicode61 remove_diacritics 2'
);

-- Lines shown while a room is being joined, before their past is here.
CREATE TABLE previews (
  num        INTEGER PRIMARY KEY,
  room       INTEGER NOT NULL,
  origin     INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  key        BLOB NOT NULL,
  stamp      INTEGER,
  payload    INTEGER,
  readable   INTEGER NOT NULL,
  sealed_by  BLOB,
  sender_key BLOB,
  reply      BLOB,
  sender     TEXT NOT NULL,
  text       TEXT NOT NULL,
  bytes      BLOB NOT NULL
);
CREATE UNIQUE INDEX previews_place ON previews (room, origin, seq);
CREATE INDEX previews_shown ON previews (room, key);

CREATE TABLE room_keys (
  num  INTEGER PRIMARY KEY,
  room INTEGER NOT NULL,
  id   BLOB NOT NULL,
  key  BLOB NOT NULL,
  UNIQUE (room, id)
);

CREATE TABLE settings (
  key   TEXT PRIMARY KEY,
  value BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE peers (
  device  BLOB PRIMARY KEY,
  name    TEXT NOT NULL,
  addrs   TEXT NOT NULL,  -- one a line
  seen_ms INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX peers_seen ON peers (seen_ms);
