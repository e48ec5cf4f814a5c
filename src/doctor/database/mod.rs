//! The database: a file or a server, as the settings name it.

mod postgres;
mod sqlite;

use super::examination::{Examination, Verdict};
use crate::{
    config::{DatabaseConfig, DatabaseLocation},
    store::{SchemaState, StoreError},
};

pub(super) async fn examine(config: &DatabaseConfig, examination: &mut Examination) {
    match &config.location {
        DatabaseLocation::Sqlite(path) => sqlite::examine(path, config, examination).await,
        DatabaseLocation::Postgres(address) => postgres::examine(address, config, examination).await,
    }
}

/// Words of the store are what happened and, where it knows, after a semicolon what to do.
fn failed(error: &StoreError, remedy: &str) -> Verdict {
    let words = match error {
        StoreError::Unavailable(words) | StoreError::Broken(words) => words.as_str(),
        StoreError::NoRoom => "an unexpected answer",
    };
    match words.split_once("; ") {
        Some((text, more)) => Verdict::failed(text, format!("{more} (DATABASE_URL)")),
        None => Verdict::failed(words, remedy),
    }
}

fn schema(state: SchemaState) -> Verdict {
    match state {
        SchemaState { foreign: true, .. } => Verdict::failed(
            "the schema is of another version of hubbub: it has migrations that this one does not know",
            "run the newest hubbub that has used this database, or let DATABASE_URL name another",
        ),
        SchemaState { pending: 0, applied, .. } => {
            Verdict::passed(format!("{applied} of {applied} migrations are applied"))
        }
        SchemaState { pending, applied, .. } => Verdict::warned(
            format!("{applied} of {} migrations are applied", applied + pending),
            "the next start of the hub applies the others, or hubbub migrate does now",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_of_a_newer_hub_fails_and_one_that_is_behind_does_not() {
        let state = |applied, pending, foreign| schema(SchemaState { applied, pending, foreign });
        assert!(matches!(state(2, 0, false), Verdict::Passed(_)));
        assert!(matches!(state(1, 1, false), Verdict::Warned(_, remedy) if remedy.contains("migrate")));
        assert!(matches!(state(2, 0, true), Verdict::Failed(..)));
    }

    #[test]
    fn remedies_of_the_store_are_told_apart_from_what_happened() {
        let error = StoreError::Unavailable("there is no such database; make it with createdb (SQLSTATE 3D000)".into());
        let expected =
            Verdict::failed("there is no such database", "make it with createdb (SQLSTATE 3D000) (DATABASE_URL)");
        assert_eq!(failed(&error, "x"), expected);
        assert_eq!(failed(&StoreError::Broken("odd".into()), "x"), Verdict::failed("odd", "x"));
    }
}
