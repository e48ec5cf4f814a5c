//! What somebody looks for, taken from what they typed, and how it is said to each database.
//!
//! Everything that was typed must occur. What stands together (`foo-bar`, or in quotes) must stand together. The last word may be
//! the beginning of one, unless a space or a quote ends it. No character has a meaning beyond that, so no query is wrong
//! except one that is too long or without a word.

use std::fmt::Write as _;

use super::words::words;
use crate::{ids::ProjectId, store::RoomKey};

/// Longer queries are refused, in bytes.
pub const QUERY_BYTES_MAX: usize = 1_000;
/// As are those of more words.
pub const QUERY_WORDS_MAX: usize = 32;
/// The beginning of a word has at least so many letters: nearly every message has a word with a given first letter.
const BEGINNING_CHARS_MIN: usize = 2;

/// Something to look for: at least one word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchQuery {
    phrases: Vec<Phrase>,
}

/// Words that stand one after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Phrase {
    words: Vec<String>,
    /// The last of them is the beginning of a word.
    open: bool,
}

/// Why a query cannot be looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// There is no letter or digit in it.
    #[error("has no word to look for: write at least one letter or digit")]
    Empty,
    /// It is over [`QUERY_BYTES_MAX`] or [`QUERY_WORDS_MAX`].
    #[error("has over {QUERY_BYTES_MAX} bytes or {QUERY_WORDS_MAX} words")]
    TooLong,
}

impl std::str::FromStr for SearchQuery {
    type Err = QueryError;

    fn from_str(text: &str) -> Result<Self, QueryError> {
        if text.len() > QUERY_BYTES_MAX {
            return Err(QueryError::TooLong);
        }
        let mut phrases = Vec::new();
        for (nth, part) in text.split('"').enumerate() {
            let quoted = nth % 2 == 1;
            let pieces: Vec<&str> = if quoted { vec![part] } else { part.split_whitespace().collect() };
            let phrases_of_part = pieces.into_iter().map(|piece| words(piece).collect::<Vec<_>>());
            phrases
                .extend(phrases_of_part.filter(|words| !words.is_empty()).map(|words| Phrase { words, open: false }));
        }
        let ended = text.ends_with(|last: char| last.is_whitespace() || last == '"');
        let last = phrases.last_mut().ok_or(QueryError::Empty)?;
        let letters = last.words.last().map_or(0, |word| word.chars().count());
        last.open = !ended && letters >= BEGINNING_CHARS_MIN;
        let count: usize = phrases.iter().map(|phrase| phrase.words.len()).sum();
        if count > QUERY_WORDS_MAX { Err(QueryError::TooLong) } else { Ok(Self { phrases }) }
    }
}

/// Where is looked: words that no message can have by itself, since `/` is in no word.
pub(in crate::store) struct Scope(String);

impl Scope {
    pub(in crate::store) fn project(project: &ProjectId) -> Self {
        Self(format!("p/{}", project.as_str()))
    }

    pub(in crate::store) fn room(room: RoomKey) -> Self {
        Self(format!("r/{}", room.0))
    }

    pub(in crate::store) fn as_str(&self) -> &str {
        &self.0
    }
}

impl SearchQuery {
    /// An expression of FTS5.
    pub(in crate::store) fn fts5(&self, scope: &Scope) -> String {
        let mut expression = format!("\"{}\"", scope.0);
        for phrase in &self.phrases {
            let star = if phrase.open { " *" } else { "" };
            write!(expression, " AND \"{}\"{star}", phrase.words.join(" ")).ok(); // writing to a string cannot fail
        }
        expression
    }

    /// A `tsquery`.
    pub(in crate::store) fn tsquery(&self, scope: &Scope) -> String {
        let mut expression = format!("'{}'", scope.0);
        for phrase in &self.phrases {
            let words: Vec<_> = phrase.words.iter().map(|word| format!("'{word}'")).collect();
            let star = if phrase.open { ":*" } else { "" };
            write!(expression, " & ({}{star})", words.join(" <-> ")).ok(); // writing to a string cannot fail
        }
        expression
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn said(text: &str) -> Result<(String, String), QueryError> {
        let scope = Scope::room(RoomKey(7));
        text.parse::<SearchQuery>().map(|query| (query.fts5(&scope), query.tsquery(&scope)))
    }

    #[test]
    fn each_database_is_asked_in_its_own_words() {
        for (text, fts5, tsquery) in [
            ("Hello wor", r#""r/7" AND "hello" AND "wor" *"#, "'r/7' & ('hello') & ('wor':*)"),
            ("hello ", r#""r/7" AND "hello""#, "'r/7' & ('hello')"),
            ("h", r#""r/7" AND "h""#, "'r/7' & ('h')"),
            ("x \"a B\"", r#""r/7" AND "x" AND "a b""#, "'r/7' & ('x') & ('a' <-> 'b')"),
            ("\"a b", r#""r/7" AND "a b""#, "'r/7' & ('a' <-> 'b')"),
            ("foo-bar", r#""r/7" AND "foo bar" *"#, "'r/7' & ('foo' <-> 'bar':*)"),
            (
                "NOT (a* OR b:c)",
                r#""r/7" AND "not" AND "a" AND "or" AND "b c""#,
                "'r/7' & ('not') & ('a') & ('or') & ('b' <-> 'c')",
            ),
        ] {
            assert_eq!(said(text), Ok((fts5.into(), tsquery.into())), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_looked_for_is_said() {
        for text in ["", "  ", "\"\"", "!*()\u{0}\"'", "👍"] {
            assert_eq!(said(text), Err(QueryError::Empty), "{text:?}");
        }
        assert_eq!(said(&"x".repeat(10_000)), Err(QueryError::TooLong));
        assert_eq!(said(&"x ".repeat(QUERY_WORDS_MAX + 1)), Err(QueryError::TooLong));
        assert!(said(&"x ".repeat(QUERY_WORDS_MAX)).is_ok());
    }

    proptest! {
        #[test]
        fn any_text_is_a_query_or_none(text in any::<String>()) {
            drop(said(&text));
        }
    }
}
