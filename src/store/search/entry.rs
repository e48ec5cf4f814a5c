//! A message on its way into the index, and how each database is given it.

use std::{collections::BTreeMap, fmt::Write as _};

use super::{query::Scope, words::Words};

/// Stands between two strings of a message, so that no phrase is found across them. In no word is a `/`.
const BETWEEN: &str = "/";

/// A message on its way into the index.
pub(in crate::store) struct Entry {
    /// Its place in the room.
    pub(in crate::store) seq: i64,
    /// When it was accepted, in milliseconds since 1970.
    pub(in crate::store) millis: i64,
    words: Words,
}

impl Entry {
    pub(super) fn of((seq, millis, body): (i64, i64, String)) -> Self {
        Self { seq, millis, words: Words::of_json(&body) }
    }

    /// The same without its words: it is in the index, but not found.
    pub(super) fn silent(&self) -> Self {
        Self { words: Words::default(), ..*self }
    }

    /// A text for FTS5.
    pub(in crate::store) fn fts5(&self, scopes: &[Scope]) -> String {
        let mut text = scopes.iter().map(Scope::as_str).collect::<Vec<_>>().join(" ");
        for string in self.words.strings() {
            for word in [BETWEEN].into_iter().chain(string.iter().map(String::as_str)) {
                text.push(' ');
                text.push_str(word);
            }
        }
        text
    }

    /// A `tsvector`.
    pub(in crate::store) fn tsvector(&self, scopes: &[Scope]) -> String {
        let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        let mut place = 0;
        for string in self.words.strings() {
            for word in string {
                place += 1;
                places.entry(word).or_default().push(place);
            }
            place += 1; // a place for what stands between
        }
        let mut vector = String::new();
        for scope in scopes {
            write!(vector, "'{}' ", scope.as_str()).ok(); // writing to a string cannot fail
        }
        for (word, places) in places {
            let places: Vec<String> = places.iter().take(PLACES_MAX).map(usize::to_string).collect();
            write!(vector, "'{word}':{} ", places.join(",")).ok(); // writing to a string cannot fail
        }
        vector
    }
}

/// PostgreSQL keeps no more places of a word.
const PLACES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::RoomKey;

    #[test]
    fn each_database_is_given_the_words_in_its_own_form() {
        let entry = Entry::of((1, 2, r#"{"a":"Foo bar, foo","b":[7,"baz"]}"#.into()));
        let scopes = [Scope::project(&"p".parse().unwrap()), Scope::room(RoomKey(3))];
        assert_eq!(entry.fts5(&scopes), "p/p r/3 / foo bar foo / baz");
        assert_eq!(entry.tsvector(&scopes), "'p/p' 'r/3' 'bar':2 'baz':5 'foo':1,3 ");
        assert_eq!(entry.silent().fts5(&scopes), "p/p r/3");
        let often = Entry::of((1, 2, format!("\"{}\"", "x ".repeat(1000))));
        assert_eq!(often.tsvector(&[]).matches(',').count(), PLACES_MAX - 1);
    }
}
