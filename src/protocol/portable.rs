//! JSON that everybody can read: what a client's own JSON (`body`, `state`, …) must keep to before it is passed on.
//!
//! The hub passes it on as text. What browsers take and other parsers choke on would spoil whole frames and history pages
//! for them, so it is refused at the door, over WebSocket and HTTP alike.

use super::NESTING_MAX;

/// Says what is wrong with a JSON text, apart from its syntax, which the parser judges.
///
/// # Errors
/// Nested deeper than [`NESTING_MAX`] (common parsers recurse), or with escapes of lone surrogates, which are no characters.
pub fn check(text: &str) -> Result<(), String> {
    if nesting_exceeds(text.as_bytes(), NESTING_MAX) {
        return Err(format!("nested deeper than {NESTING_MAX} levels"));
    }
    // Escaped surrogates are rare: the strict parser is asked only then.
    let surrogates = text.contains("\\ud") || text.contains("\\uD");
    if surrogates && let Err(error) = serde_json::from_str::<serde_json::Value>(text) {
        return Err(format!("not valid JSON: {error}"));
    }
    Ok(())
}

/// Whether arrays and objects are nested deeper than `max`, judged before any parser recurses.
fn nesting_exceeds(json: &[u8], max: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
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
                if depth > max {
                    return true;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    false
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
    fn pairs_of_surrogates_pass_and_lone_ones_do_not() {
        assert!(check(r#"{"a":"\ud83d\ude00"}"#).is_ok());
        assert!(check(r#"{"a":"\ud800"}"#).is_err());
        assert!(check(r#"{"a":"\\ud800"}"#).is_ok(), "an escaped backslash is no surrogate");
    }
}
