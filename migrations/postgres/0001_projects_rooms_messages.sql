-- Times are milliseconds since 1970 in UTC. Names and user ids compare byte by byte, hence COLLATE "C".

CREATE TABLE projects (
    project_id TEXT COLLATE "C" PRIMARY KEY,
    name       TEXT NOT NULL,
    visibility TEXT NOT NULL CHECK (visibility IN ('public', 'private')),
    created_at BIGINT NOT NULL
);

CREATE INDEX projects_public ON projects (project_id) WHERE visibility = 'public';

CREATE TABLE project_members (
    project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (project_id) ON DELETE CASCADE,
    user_id    TEXT COLLATE "C" NOT NULL,
    role       TEXT NOT NULL CHECK (role IN ('viewer', 'editor', 'owner')),
    PRIMARY KEY (project_id, user_id)
);

CREATE INDEX project_members_by_user ON project_members (user_id, project_id);

-- A sequence never goes back: the key of a deleted room never returns, so whoever still holds one cannot write into a
-- stranger's room. `head` is the seq of the latest message: whoever appends locks the row and counts on from there. It is
-- in no index and the pages are not filled up, so that counting writes no index (HOT).
CREATE TABLE rooms (
    room_key   BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    project_id TEXT COLLATE "C" NOT NULL REFERENCES projects (project_id) ON DELETE CASCADE,
    name       TEXT COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL,
    head       BIGINT NOT NULL DEFAULT 0 CHECK (head >= 0),
    UNIQUE (project_id, name)
) WITH (fillfactor = 50);

-- No foreign key, for two reasons: `append` checks the room itself and must not fail a whole batch over one deleted room;
-- and a cascade over millions of messages would take longer than a statement may. A deleted room is remembered in
-- `deleted_rooms`, and its messages are removed in steps. The body is text and not jsonb, which knows no \u0000 and keeps
-- neither the order of the keys nor the form of the numbers.
CREATE TABLE messages (
    room_key      BIGINT NOT NULL,
    seq           BIGINT NOT NULL CHECK (seq > 0),
    message_id    UUID NOT NULL,
    user_id       TEXT COLLATE "C" NOT NULL,
    user_name     TEXT NOT NULL,
    connection_id TEXT,
    body          TEXT NOT NULL,
    sent_at       BIGINT NOT NULL,
    PRIMARY KEY (room_key, seq),
    UNIQUE (message_id, room_key)
);

CREATE TABLE deleted_rooms (
    room_key BIGINT PRIMARY KEY
);

CREATE FUNCTION rooms_remember_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO deleted_rooms (room_key) VALUES (OLD.room_key);
    RETURN NULL;
END
$$;

CREATE TRIGGER rooms_remember_deleted AFTER DELETE ON rooms
    FOR EACH ROW EXECUTE FUNCTION rooms_remember_deleted();

CREATE TABLE users (
    user_id    TEXT COLLATE "C" PRIMARY KEY,
    name       TEXT NOT NULL,
    color      TEXT,
    avatar_url TEXT,
    email      TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

CREATE TABLE read_markers (
    room_key BIGINT NOT NULL REFERENCES rooms (room_key) ON DELETE CASCADE,
    user_id  TEXT COLLATE "C" NOT NULL,
    seq      BIGINT NOT NULL CHECK (seq >= 0),
    PRIMARY KEY (room_key, user_id)
);
