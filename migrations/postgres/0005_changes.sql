-- What makes a cached answer stale is written down by the database itself, in the transaction that makes it so: whoever
-- changes a row, in whichever way, cannot forget it. `change_log` counts; its one row is locked until the commit, so the
-- numbers have the order of the commits. `changes` keeps the latest 10,000.

CREATE TABLE change_log (
    one      INTEGER PRIMARY KEY CHECK (one = 1),
    identity BIGINT NOT NULL,
    last     BIGINT NOT NULL
) WITH (fillfactor = 50);

INSERT INTO change_log (one, identity, last)
VALUES (1, ('x' || substr(md5(random()::text || clock_timestamp()::text), 1, 16))::bit(64)::bigint, 0);

CREATE TABLE changes (
    change_no  BIGINT PRIMARY KEY,
    kind       TEXT NOT NULL CHECK (kind IN ('project', 'listing', 'member', 'profile', 'everything')),
    project_id TEXT COLLATE "C",
    user_id    TEXT COLLATE "C"
);

-- The instances that answer from their caches. One with `ends_at` (milliseconds since 1970) has to enter again.
CREATE TABLE cache_readers (
    instance_id TEXT COLLATE "C" PRIMARY KEY,
    ends_at     BIGINT
);

CREATE FUNCTION note_change(change_kind TEXT, changed_project TEXT, changed_user TEXT) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    number BIGINT;
BEGIN
    UPDATE change_log SET last = last + 1 RETURNING last INTO number;
    INSERT INTO changes (change_no, kind, project_id, user_id)
    VALUES (number, change_kind, changed_project, changed_user);
    DELETE FROM changes WHERE change_no <= number - 10000;
END
$$;

-- The names of the triggers come after those of the foreign keys' own (they run by name): whoever gets to the log has its
-- rows locked already, and waits for nobody else.

CREATE FUNCTION changes_project() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        PERFORM note_change('project', OLD.project_id, NULL);
        IF OLD.visibility = 'public' THEN
            PERFORM note_change('listing', NULL, NULL);
        END IF;
    ELSE
        PERFORM note_change('project', NEW.project_id, NULL);
        IF TG_OP = 'INSERT' AND NEW.visibility = 'public' OR TG_OP = 'UPDATE' AND NEW.visibility <> OLD.visibility THEN
            PERFORM note_change('listing', NULL, NULL);
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER changes_project AFTER INSERT OR UPDATE OR DELETE ON projects
FOR EACH ROW EXECUTE FUNCTION changes_project();

CREATE FUNCTION changes_member() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        -- Not for those who go with their project: that is one change, however many members it has.
        IF EXISTS (SELECT 1 FROM projects WHERE project_id = OLD.project_id) THEN
            PERFORM note_change('member', OLD.project_id, OLD.user_id);
        END IF;
    ELSE
        PERFORM note_change('member', NEW.project_id, NEW.user_id);
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER changes_member AFTER INSERT OR UPDATE OR DELETE ON project_members
FOR EACH ROW EXECUTE FUNCTION changes_member();

CREATE FUNCTION changes_profile() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM note_change('profile', NULL, CASE WHEN TG_OP = 'DELETE' THEN OLD.user_id ELSE NEW.user_id END);
    RETURN NULL;
END
$$;

CREATE TRIGGER changes_profile AFTER INSERT OR UPDATE OR DELETE ON users
FOR EACH ROW EXECUTE FUNCTION changes_profile();
