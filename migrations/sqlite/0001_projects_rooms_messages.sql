-- Times are milliseconds since 1970 in UTC. Names and user ids compare byte by byte.

CREATE TABLE projects (
    project_id TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'private')),
    created_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE INDEX projects_public ON projects (project_id) WHERE visibility = 'public';

CREATE TABLE project_members (
    project_id TEXT NOT NULL REFERENCES projects (project_id) ON DELETE CASCADE,
    user_id    TEXT NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'editor', 'owner')),
    PRIMARY KEY (project_id, user_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX project_members_by_user ON project_members (user_id, project_id);

-- AUTOINCREMENT: the key of a deleted room never comes back, so whoever still holds one cannot write into a stranger's room.
CREATE TABLE rooms (
    room_key   INTEGER PRIMARY KEY AUTOINCREMENT,
    project_id TEXT NOT NULL REFERENCES projects (project_id) ON DELETE CASCADE,
    name       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    UNIQUE (project_id, name)
) STRICT;

-- Clustered by room: what a room writes and reads lies together. No foreign key, for two reasons: `append` checks the room
-- itself and must not fail a whole batch over one deleted room; and a cascade over millions of messages would hold the
-- write lock for seconds. A deleted room is remembered in `deleted_rooms`, and its messages are removed in steps.
CREATE TABLE messages (
    room_key      INTEGER NOT NULL,
    seq           INTEGER NOT NULL CHECK (seq > 0),
    message_id    BLOB NOT NULL,
    user_id       TEXT NOT NULL,
    user_name     TEXT NOT NULL,
    connection_id TEXT,
    body          TEXT NOT NULL,
    sent_at       INTEGER NOT NULL,
    PRIMARY KEY (room_key, seq),
    UNIQUE (message_id, room_key)
) STRICT, WITHOUT ROWID;

CREATE TABLE deleted_rooms (
    room_key INTEGER PRIMARY KEY NOT NULL
) STRICT;

CREATE TRIGGER rooms_remember_deleted AFTER DELETE ON rooms
BEGIN
    INSERT INTO deleted_rooms (room_key) VALUES (OLD.room_key);
END;

CREATE TABLE users (
    user_id    TEXT PRIMARY KEY NOT NULL,
    name       TEXT NOT NULL,
    color      TEXT,
    avatar_url TEXT,
    email      TEXT,
    created_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE read_markers (
    room_key INTEGER NOT NULL REFERENCES rooms (room_key) ON DELETE CASCADE,
    user_id  TEXT NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (room_key, user_id)
) STRICT, WITHOUT ROWID;
