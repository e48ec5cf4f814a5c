//! A colour for each person: the one their token names, or one of a palette that follows from their user id.

use crate::ids::UserId;

/// Sixteen hues of one lightness: white text on each has a contrast of at least 4.5, and each stands out from a dark and
/// from a light background.
const PALETTE: [&str; 16] = [
    "#c72c53", "#c8340a", "#a95a03", "#946800", "#7f7304", "#607e04", "#058931", "#078567", //
    "#028380", "#057f94", "#007aae", "#206bde", "#655adb", "#8b4bc9", "#a83daa", "#bc3182",
];

/// The user's colour, the same on every instance and after every restart.
pub(super) fn of(user: &UserId) -> String {
    // FNV-1a: the standard library's hashes are not promised to stay the same.
    let hash = user
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    // Spreads short ids, too, over all colours (the first half of MurmurHash3's finish).
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd) >> 32;
    PALETTE[mixed as usize % PALETTE.len()].into()
}

/// `#rgb` or `#rrggbb` as `#rrggbb` in lower case; `None` for anything else, which might be a piece of a style sheet.
pub(super) fn parse(text: &str) -> Option<String> {
    let digits = text.strip_prefix('#')?;
    if !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_lowercase();
    match digits.len() {
        3 => Some(digits.chars().fold("#".into(), |color, digit| format!("{color}{digit}{digit}"))),
        6 => Some(format!("#{digits}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hex_colors_are_taken() {
        assert_eq!(parse("#AbC").unwrap(), "#aabbcc");
        assert_eq!(parse("#12EF56").unwrap(), "#12ef56");
        for bad in ["", "#", "abc", "#ab", "#abcd", "#abcdefa", "#ggg", "red", "#abc;background:url(x)", "#äö"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_user_keeps_a_color_and_users_differ() {
        let color = |id: &str| of(&id.parse().unwrap());
        assert_eq!(color("ada"), color("ada"));
        let colors: std::collections::HashSet<_> = (0..200).map(|n| color(&format!("user-{n}"))).collect();
        assert_eq!(colors.len(), PALETTE.len());
    }
}
