-- Version 5. Words are found by room, and by their first letters without reading
-- all words that begin so. What was set aside, which is not listed, stays out.

DROP TABLE words;
CREATE VIRTUAL TABLE words USING fts5 (
  text, room, content = 'entries', content_rowid = 'num', columnsize = 0, prefix = '1 2 3 4',
  tokenize = 'unicode61 remove_diacritics 2'
);
INSERT INTO words (rowid, text, room) SELECT num, text, room FROM entries
  WHERE text <> '' AND room IN (SELECT num FROM rooms WHERE listed = 1);
