-- Version 1. Rooms and origins are named by small numbers inside the database.

CREATE TABLE rooms (
  num     INTEGER PRIMARY KEY,
  id      BLOB NOT NULL UNIQUE,
  listed  INTEGER NOT NULL DEFAULT 0,  -- 0: only entries or keys have named it
  total   INTEGER NOT NULL DEFAULT 0,  -- lines that are not hidden
  name    TEXT NOT NULL DEFAULT '',
  state   TEXT NOT NULL DEFAULT '',
  reason  TEXT NOT NULL DEFAULT '',
  invite  TEXT NOT NULL DEFAULT '',
  via     BLOB,
  target  BLOB,                        -- origin and uvarint seq, repeated
  mode    INTEGER NOT NULL DEFAULT 0,
  -- How far people have read, as two places: of the final list, and of the tail.
  read_final BLOB NOT NULL DEFAULT x'00',
  read_tail  BLOB NOT NULL DEFAULT x'01'
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
  place      BLOB,              -- x'00' and the index of a final line, 8 bytes; x'01' and the key
                                -- of any other; NULL: no line in the history
  stamp      INTEGER,           -- of a readable line: digest of client key and client id
  payload    INTEGER,           -- with it: digest of what that client signed
  hidden     INTEGER NOT NULL DEFAULT 0,  -- 1: a line that is not shown, such as a repeat
  was_read   INTEGER NOT NULL DEFAULT 0,  -- 1: it was read before it became final beyond read_final
  final      INTEGER,           -- NULL: not emitted; 0: emitted without an index; else its index
  fate       INTEGER,           -- of what was emitted; NULL when a snapshot brought it
  order_hash BLOB,              -- at the index
  epoch      INTEGER,
  term       INTEGER,
  leader     INTEGER,           -- an origin's number
  late       INTEGER,
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
CREATE INDEX lines_shown ON entries (room, place, was_read) WHERE hidden = 0 AND place IS NOT NULL;
CREATE INDEX lines_stamp ON entries (room, stamp, payload) WHERE hidden = 0 AND stamp IS NOT NULL;
CREATE INDEX lines_repeated ON entries (room, stamp, payload, place) WHERE hidden = 1 AND final IS NULL AND stamp IS NOT NULL;
CREATE INDEX finals_kept ON entries (room, final, order_hash) WHERE final > 0 AND final % 256 = 0;
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
  place      BLOB NOT NULL,
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
CREATE INDEX previews_shown ON previews (room, place);

-- How far each chain was emitted, and the hash of the entry there.
CREATE TABLE emitted (
  room   INTEGER NOT NULL,
  origin INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  hash   BLOB NOT NULL,
  PRIMARY KEY (room, origin)
) WITHOUT ROWID;

-- The control log. Terms, votes and indexes are unsigned: the same 64 bits.
CREATE TABLE control (
  room         INTEGER PRIMARY KEY,
  term         INTEGER,
  vote         INTEGER,
  committed    INTEGER,
  raft_applied INTEGER,
  conf         BLOB,     -- as of raft_applied
  mark         BLOB      -- of the linearizer
);

CREATE TABLE control_snapshots (
  room  INTEGER PRIMARY KEY,
  idx   INTEGER NOT NULL,
  term  INTEGER NOT NULL,
  conf  BLOB,
  state BLOB
);

CREATE TABLE control_log (
  room INTEGER NOT NULL,
  idx  INTEGER NOT NULL,
  term INTEGER NOT NULL,
  kind INTEGER NOT NULL,
  data BLOB,
  PRIMARY KEY (room, idx)
) WITHOUT ROWID;

-- What other replicas showed of themselves.
CREATE TABLE seen (
  room   INTEGER NOT NULL,
  origin INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  term   INTEGER NOT NULL,
  match  INTEGER NOT NULL,
  PRIMARY KEY (room, origin)
) WITHOUT ROWID;

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
