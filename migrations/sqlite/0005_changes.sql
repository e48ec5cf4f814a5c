-- What makes a cached answer stale is written down by the database itself, in the transaction that makes it so: whoever
-- changes a row, in whichever way, cannot forget it. `change_log` counts; `changes` keeps the latest 10,000.

CREATE TABLE change_log (
    one      INTEGER PRIMARY KEY NOT NULL CHECK (one = 1),
    identity INTEGER NOT NULL,
    last     INTEGER NOT NULL
) STRICT;

INSERT INTO change_log (one, identity, last) VALUES (1, random(), 0);

CREATE TABLE changes (
    change_no  INTEGER PRIMARY KEY NOT NULL,
    kind       TEXT NOT NULL CHECK (kind IN ('project', 'listing', 'member', 'profile', 'everything')),
    project_id TEXT,
    user_id    TEXT
) STRICT;

CREATE TRIGGER changes_are_numbered AFTER INSERT ON changes
BEGIN
    UPDATE change_log SET last = NEW.change_no;
    DELETE FROM changes WHERE change_no <= NEW.change_no - 10000;
END;

-- The instances that answer from their caches. One with `ends_at` (milliseconds since 1970) has to enter again.
CREATE TABLE cache_readers (
    instance_id TEXT PRIMARY KEY NOT NULL,
    ends_at     INTEGER
) STRICT, WITHOUT ROWID;

CREATE TRIGGER changes_project_made AFTER INSERT ON projects
BEGIN
    INSERT INTO changes (change_no, kind, project_id) SELECT last + 1, 'project', NEW.project_id FROM change_log;
    INSERT INTO changes (change_no, kind) SELECT last + 1, 'listing' FROM change_log WHERE NEW.visibility = 'public';
END;

CREATE TRIGGER changes_project_changed AFTER UPDATE ON projects
BEGIN
    INSERT INTO changes (change_no, kind, project_id) SELECT last + 1, 'project', NEW.project_id FROM change_log;
    INSERT INTO changes (change_no, kind) SELECT last + 1, 'listing' FROM change_log WHERE NEW.visibility <> OLD.visibility;
END;

CREATE TRIGGER changes_project_deleted AFTER DELETE ON projects
BEGIN
    INSERT INTO changes (change_no, kind, project_id) SELECT last + 1, 'project', OLD.project_id FROM change_log;
    INSERT INTO changes (change_no, kind) SELECT last + 1, 'listing' FROM change_log WHERE OLD.visibility = 'public';
END;

CREATE TRIGGER changes_member_made AFTER INSERT ON project_members
BEGIN
    INSERT INTO changes (change_no, kind, project_id, user_id)
    SELECT last + 1, 'member', NEW.project_id, NEW.user_id FROM change_log;
END;

CREATE TRIGGER changes_member_changed AFTER UPDATE ON project_members
BEGIN
    INSERT INTO changes (change_no, kind, project_id, user_id)
    SELECT last + 1, 'member', NEW.project_id, NEW.user_id FROM change_log;
END;

-- Not for those who go with their project: that is one change, however many members it has.
CREATE TRIGGER changes_member_removed AFTER DELETE ON project_members
WHEN EXISTS (SELECT 1 FROM projects WHERE project_id = OLD.project_id)
BEGIN
    INSERT INTO changes (change_no, kind, project_id, user_id)
    SELECT last + 1, 'member', OLD.project_id, OLD.user_id FROM change_log;
END;

CREATE TRIGGER changes_profile_made AFTER INSERT ON users
BEGIN
    INSERT INTO changes (change_no, kind, user_id) SELECT last + 1, 'profile', NEW.user_id FROM change_log;
END;

CREATE TRIGGER changes_profile_changed AFTER UPDATE ON users
BEGIN
    INSERT INTO changes (change_no, kind, user_id) SELECT last + 1, 'profile', NEW.user_id FROM change_log;
END;

CREATE TRIGGER changes_profile_deleted AFTER DELETE ON users
BEGIN
    INSERT INTO changes (change_no, kind, user_id) SELECT last + 1, 'profile', OLD.user_id FROM change_log;
END;
