-- Written while writing fails, to see whether it goes again. One row, of a few pages.
CREATE TABLE write_probe (
    probe  INTEGER PRIMARY KEY NOT NULL,
    filler BLOB NOT NULL
) STRICT;
