-- Written while writing fails, to see whether it goes again. One row, of a few pages, hence not compressed.
CREATE TABLE write_probe (
    probe  BIGINT PRIMARY KEY,
    filler TEXT NOT NULL
);

ALTER TABLE write_probe ALTER COLUMN filler SET STORAGE EXTERNAL;
