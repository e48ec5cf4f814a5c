-- Which messages can be found. `entry_id` is the time a message was accepted at, in milliseconds, shifted by 20 bits, plus a
-- number among those of the same millisecond: the newest first is one order for all. `words` are as the hub took them
-- apart, without a text search configuration of the server's; its project and room are among them, as words with a `/`.
CREATE TABLE search_entries (
    entry_id BIGINT PRIMARY KEY,
    room_key BIGINT NOT NULL,
    seq      BIGINT NOT NULL,
    words    TSVECTOR NOT NULL,
    UNIQUE (room_key, seq)
);

CREATE INDEX search_entries_words ON search_entries USING gin (words);

-- Up to where a room's messages are in the index. Messages are appended without it, and brought in a moment later.
CREATE TABLE search_progress (
    room_key BIGINT PRIMARY KEY REFERENCES rooms (room_key) ON DELETE CASCADE,
    seq      BIGINT NOT NULL
);
