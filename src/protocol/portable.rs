//! JSON that everybody can read: what a client's own JSON (`body`, `state`, …) must keep to before it is passed on.
//!
//! The hub passes it on as text. What browsers take and other parsers choke on would spoil whole frames and history pages
//! for them, so it is refused at the door, over WebSocket and HTTP alike.

use super::NESTING_MAX;

/// A number of so many digits may be beyond what a double holds.
const DIGITS_SURE: usize = 300;

/// Says what is wrong with a JSON text, apart from its syntax, which the parser judges.
///
/// # Errors
/// Nested deeper than [`NESTING_MAX`] (common parsers recurse), a number that no double holds, or an escape of a lone
/// surrogate, which is no character.
pub fn check(text: &str) -> Result<(), String> {
    let look = Look::at(text.as_bytes());
    if look.too_deep {
        return Err(format!("nested deeper than {NESTING_MAX} levels"));
    }
    // Both are rare: the strict parser is asked only then.
    let surrogates = text.contains("\\ud") || text.contains("\\uD");
    if (surrogates || look.large_number)
        && let Err(error) = serde_json::from_str::<serde_json::Value>(text)
    {
        return Err(format!("not valid JSON: {error}"));
    }
    Ok(())
}

/// What one pass over the bytes tells, before any parser recurses.
#[derive(Default)]
struct Look {
    too_deep: bool,
    /// There may be a number out of range.
    large_number: bool,
}

impl Look {
    fn at(json: &[u8]) -> Self {
        let mut look = Self::default();
        let (mut depth, mut digits, mut in_string, mut escaped) = (0usize, 0usize, false, false);
        for byte in json {
            if in_string {
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' => escaped = true,
                    b'"' => in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => in_string = true,
                b'{' | b'[' => {
                    depth += 1;
                    look.too_deep |= depth > NESTING_MAX;
                }
                b'}' | b']' => depth = depth.saturating_sub(1),
                b'e' | b'E' if digits > 0 => look.large_number = true,
                _ => {}
            }
            digits = if byte.is_ascii_digit() { digits + 1 } else { 0 };
            look.large_number |= digits > DIGITS_SURE;
        }
        look
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn depth_counts_outside_strings_only() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(check(&nested(NESTING_MAX)).is_ok());
        assert!(check(&nested(NESTING_MAX + 1)).is_err());
        assert!(check(&format!(r#"{{"a":"\"{}"}}"#, "[".repeat(1_000))).is_ok());
    }

    #[test]
    fn numbers_are_within_a_double() {
        for good in [r#"{"a":1e300,"b":[true,false,null],"c":"1e999"}"#, r#"{"a":-0.5E-3}"#] {
            assert!(check(good).is_ok(), "{good}");
        }
        for bad in [r#"{"a":1e999}"#.to_owned(), format!("[{}]", "9".repeat(400))] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn pairs_of_surrogates_pass_and_lone_ones_do_not() {
        assert!(check(r#"{"a":"\ud83d\ude00"}"#).is_ok());
        assert!(check(r#"{"a":"\ud800"}"#).is_err());
        assert!(check(r#"{"a":"\\ud800"}"#).is_ok(), "an escaped backslash is no surrogate");
    }
}
