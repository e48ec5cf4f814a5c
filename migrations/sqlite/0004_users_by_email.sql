-- One user per address: whoever logs in by a code sent to it.
CREATE UNIQUE INDEX users_by_email ON users (email) WHERE email IS NOT NULL;
