//! Lists in pages: `{"items":[…],"next":"<opaque>|null"}`.
//!
//! `next` goes back as `?cursor=` to get the page after. It holds the key of the last item, so a page costs the same
//! however far down it is, and nothing is skipped or repeated when items come and go in between.

use serde::Serialize;

use super::{Problem, parameters::Query};
use crate::{cache::Span, ids::Seq};

/// Items on a page unless `limit` says otherwise.
const LIMIT_DEFAULT: u32 = 50;
/// The most items `limit` may ask for.
const LIMIT_MAX: u64 = 200;
/// Sequence numbers are signed 64-bit in the database.
const SEQ_MAX: u64 = i64::MAX as u64;

pub(super) const CURSOR_RULE: &str = "must be the `next` of the page before";

/// A page of a list.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    items: Vec<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn new(items: Vec<T>, next: Option<String>) -> Self {
        Self { items, next }
    }
}

/// `limit`.
pub(super) fn limit(query: &Query) -> Result<u32, Problem> {
    Ok(query.whole("limit", 1, LIMIT_MAX)?.map_or(LIMIT_DEFAULT, |limit| limit as u32))
}

/// The key after which a list by name goes on, read by `parse`.
pub(super) fn after_key<T>(query: &Query, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Problem> {
    let Some(cursor) = query.get("cursor") else { return Ok(None) };
    let key = cursor.strip_prefix("a.").and_then(parse);
    key.map(Some).ok_or_else(|| Problem::bad_parameter("cursor", CURSOR_RULE))
}

/// Cuts what was fetched with `limit + 1` to a page; the cursor names the key of the last item if there are more.
pub(super) fn cut<T>(items: &mut Vec<T>, limit: u32, key: impl FnOnce(&T) -> String) -> Option<String> {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    items.last().filter(|_| more).map(|last| format!("a.{}", key(last)))
}

/// Which messages a page of history holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum History {
    /// Those before this one, or the latest; newest first.
    Before(Option<Seq>),
    /// Those after this one; oldest first.
    After(Seq),
}

impl History {
    /// From `before`, `after` or `cursor`, of which at most one may be there.
    pub(super) fn of(query: &Query) -> Result<Self, Problem> {
        let before = query.whole("before", 0, SEQ_MAX)?.map(|seq| Self::Before(Some(seq)));
        let after = query.whole("after", 0, SEQ_MAX)?.map(Self::After);
        let cursor = query.get("cursor").map(Self::parse).transpose()?;
        let given = [before, after, cursor].into_iter().flatten().collect::<Vec<_>>();
        match <[Self; 1]>::try_from(given) {
            Ok([only]) => Ok(only),
            Err(given) if given.is_empty() => Ok(Self::Before(None)),
            Err(_) => Err(Problem::bad_request("give one of `before`, `after` and `cursor`")),
        }
    }

    fn parse(cursor: &str) -> Result<Self, Problem> {
        let parsed = cursor.split_once('.').and_then(|(direction, seq)| {
            let seq = seq.parse().ok().filter(|seq| *seq <= SEQ_MAX)?;
            match direction {
                "b" => Some(Self::Before(Some(seq))),
                "a" => Some(Self::After(seq)),
                _ => None,
            }
        });
        parsed.ok_or_else(|| Problem::bad_parameter("cursor", CURSOR_RULE))
    }

    /// The cursor of the page after one that ends with `last`.
    pub(super) fn next(span: Span, last: Seq) -> String {
        match span {
            Span::Before(_) => format!("b.{last}"),
            Span::After(_) => format!("a.{last}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn query(text: &str) -> Query {
        Query::of(&TestRequest::get().uri(&format!("/?{text}")).to_http_request())
    }

    #[test]
    fn a_page_names_its_last_key_when_there_is_more() {
        let mut items = vec!["a", "b", "c"];
        assert_eq!(cut(&mut items, 2, |last| (*last).into()), Some("a.b".into()));
        assert_eq!(items, ["a", "b"]);
        assert_eq!(cut(&mut items, 2, |last| (*last).into()), None);
        let key = |text: &str| after_key(&query(text), |key| Some(key.to_owned()));
        assert_eq!(key("cursor=a.b%20c").unwrap().as_deref(), Some("b c"));
        assert!(key("").unwrap().is_none() && key("cursor=x").is_err());
    }

    #[test]
    fn history_goes_one_way() {
        for (text, expected) in [
            ("", History::Before(None)),
            ("before=7", History::Before(Some(7))),
            ("after=0", History::After(0)),
            ("cursor=b.7", History::Before(Some(7))),
            ("cursor=a.7", History::After(7)),
        ] {
            let history = History::of(&query(text)).unwrap();
            assert_eq!(history, expected, "{text}");
        }
        for (span, expected) in [(Span::Before(9), History::Before(Some(3))), (Span::After(1), History::After(3))] {
            assert_eq!(History::parse(&History::next(span, 3)).unwrap(), expected);
        }
        for bad in [
            "before=1&after=2",
            "after=1&cursor=a.1",
            "before=-1",
            "after=x",
            "cursor=7",
            "cursor=c.7",
            "cursor=",
            "before=9223372036854775808",
            "cursor=a.9223372036854775808",
        ] {
            assert!(History::of(&query(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn limits_have_bounds() {
        assert_eq!((limit(&query("")).unwrap(), limit(&query("limit=200")).unwrap()), (50, 200));
        for bad in ["limit=0", "limit=201", "limit=", "limit=1e2"] {
            assert!(limit(&query(bad)).is_err(), "{bad}");
        }
    }
}
