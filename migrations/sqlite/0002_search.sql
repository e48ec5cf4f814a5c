-- Which messages can be found. `entry_id` is the time a message was accepted at, in milliseconds, shifted by 20 bits, plus a
-- number among those of the same millisecond: the newest are found first without sorting.
CREATE TABLE search_entries (
    entry_id INTEGER PRIMARY KEY NOT NULL,
    room_key INTEGER NOT NULL,
    seq      INTEGER NOT NULL,
    UNIQUE (room_key, seq)
) STRICT;

-- The words of an entry, one after the other as the hub took them apart; the rowid is its `entry_id`. Before them stand its
-- project and room, as words with a `/`. The text itself is not kept a second time. Beginnings of two and three letters
-- have an index of their own: many words begin with them.
CREATE VIRTUAL TABLE search_words USING fts5 (
    words,
    content = '',
    contentless_delete = 1,
    prefix = '2 3',
    tokenize = "ascii tokenchars '/-_'"
);

-- Up to where a room's messages are in the index. Messages are appended without it, and brought in a moment later.
CREATE TABLE search_progress (
    room_key INTEGER PRIMARY KEY NOT NULL REFERENCES rooms (room_key) ON DELETE CASCADE,
    seq      INTEGER NOT NULL
) STRICT;
