//! What a text is searched by: its words, in one form for writers and seekers, and the same for every database.
//!
//! Upper and lower case are the same, and so are letters with and without accents. A word is a run of letters and digits;
//! in scripts that are written without spaces every character is one, and characters that stand together are found as a
//! phrase. The databases' own notions of words are not used: they differ.

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use unicode_normalization::{UnicodeNormalization as _, char::is_combining_mark};

/// Longer words are known by their beginning: PostgreSQL keeps none over 2 kB.
const WORD_CHARS_MAX: usize = 64;
/// So much of a message is searched, in bytes of its words and in words: PostgreSQL keeps 1 MB and knows 16,383 places.
const TEXT_BYTES_MAX: usize = 64 * 1024;
const TEXT_WORDS_MAX: usize = 8_000;

/// The words of a message, a list for each string in it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(in crate::store) struct Words {
    strings: Vec<Vec<String>>,
    bytes: usize,
    count: usize,
}

impl Words {
    /// The words of all strings in a JSON text, wherever they stand in it. Names of fields are not among them.
    pub(in crate::store) fn of_json(body: &str) -> Self {
        let mut words = Self::default();
        // What cannot be read here was refused at the door; if it is there all the same it is just not found.
        let mut json = serde_json::Deserializer::from_str(body);
        Strings(&mut words).deserialize(&mut json).ok();
        words
    }

    /// The strings, as lists of words in their order.
    pub(in crate::store) fn strings(&self) -> &[Vec<String>] {
        &self.strings
    }

    fn add(&mut self, text: &str) {
        let mut string = Vec::new();
        for word in words(text) {
            if self.count == TEXT_WORDS_MAX || self.bytes + word.len() > TEXT_BYTES_MAX {
                break;
            }
            self.count += 1;
            self.bytes += word.len();
            string.push(word);
        }
        if !string.is_empty() {
            self.strings.push(string);
        }
    }
}

/// The words of a text, in their order.
pub(super) fn words(text: &str) -> impl Iterator<Item = String> {
    let mut letters = folded(text).peekable();
    std::iter::from_fn(move || {
        while letters.next_if(|letter| !is_word(*letter)).is_some() {}
        let first = letters.next()?;
        let mut word = String::from(first);
        let mut count = 1;
        let alone = stands_alone(first);
        while let Some(letter) = letters.next_if(|letter| {
            is_word(*letter) && if alone { is_combining_mark(*letter) } else { !stands_alone(*letter) }
        }) {
            if count < WORD_CHARS_MAX {
                word.push(letter);
                count += 1;
            }
        }
        Some(word)
    })
}

/// The text without case and accents.
fn folded(text: &str) -> impl Iterator<Item = char> {
    let lower = text.nfkd().flat_map(char::to_lowercase);
    lower.filter(|letter| !is_accent(*letter)).flat_map(|letter| {
        let (first, second) = without_stroke(letter);
        std::iter::once(first).chain(second)
    })
}

fn is_word(letter: char) -> bool {
    letter.is_alphanumeric() || is_combining_mark(letter)
}

/// Marks that a reader may leave out: accents of Latin, Greek and Cyrillic, the vowel points of Hebrew and Arabic. In other
/// scripts marks are letters.
fn is_accent(letter: char) -> bool {
    matches!(letter,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c7}'
        | '\u{610}'..='\u{61a}' | '\u{64b}'..='\u{65f}' | '\u{670}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{fe00}'..='\u{fe0f}' | '\u{fe20}'..='\u{fe2f}')
}

/// Letters that are not a letter with a mark, but written as one by those who do not have them.
fn without_stroke(letter: char) -> (char, Option<char>) {
    match letter {
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        'ø' => ('o', None),
        'đ' | 'ð' => ('d', None),
        'ħ' => ('h', None),
        'ı' => ('i', None),
        'ł' => ('l', None),
        'ŧ' => ('t', None),
        'ς' => ('σ', None),
        other => (other, None),
    }
}

/// Letters of scripts without spaces between words: Chinese, Japanese, Thai, Lao, Khmer, Burmese.
fn stands_alone(letter: char) -> bool {
    matches!(letter,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{3040}'..='\u{30ff}'
        | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{3ffff}')
        && !letter.is_numeric()
}

/// Visits a JSON value and hands the strings in it to the words, without building the value.
struct Strings<'w>(&'w mut Words);

impl<'de> DeserializeSeed<'de> for Strings<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        value.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strings<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.0.add(text);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        while items.next_element_seed(Strings(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_key::<IgnoredAny>()?.is_some() {
            fields.next_value_seed(Strings(self.0))?;
        }
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<(), D::Error> {
        IgnoredAny::deserialize(value).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> Vec<String> {
        words(text).collect()
    }

    #[test]
    fn case_accents_and_forms_of_letters_do_not_matter() {
        for (text, expected) in [
            ("Hello, World!", vec!["hello", "world"]),
            ("ÉTÉ été e\u{301}te\u{301}", vec!["ete", "ete", "ete"]),
            ("Straße STRASSE ＳＴＲＡＳＳＥ", vec!["strasse"; 3]),
            ("Łódź Æsir İstanbul ﬁn", vec!["lodz", "aesir", "istanbul", "fin"]),
            ("ΟΔΟΣ οδος οδός", vec!["οδοσ"; 3]),
            ("foo-bar_baz@x.de 3.14", vec!["foo", "bar", "baz", "x", "de", "3", "14"]),
            ("שָׁלוֹם", vec!["שלום"]),
            ("हिन्दी", vec!["हिन्दी"]),
            ("日本語が v2", vec!["日", "本", "語", "か\u{3099}", "v2"]),
            ("👩‍💻 -- \"\u{0}\" *", vec![]),
        ] {
            assert_eq!(of(text), expected, "{text}");
        }
        assert_eq!(of(&"x".repeat(1000)), ["x".repeat(WORD_CHARS_MAX)]);
    }

    #[test]
    fn all_strings_of_a_body_are_searched_and_nothing_else() {
        let body = r#"{"text":"Hi \u00dcber","n":[1,-2.5,true,null,["deep",{"k":"er"}]],"empty":""}"#;
        assert_eq!(Words::of_json(body).strings(), [vec!["hi", "uber"], vec!["deep"], vec!["er"]]);
        assert_eq!(Words::of_json("\"one\"").strings(), [vec!["one"]]);
        assert!(Words::of_json("null").strings().is_empty());
        assert_eq!(Words::of_json(r#"["kept",{"#).strings(), [vec!["kept"]]);
    }

    #[test]
    fn a_long_text_is_searched_up_to_a_point() {
        let many = Words::of_json(&format!("\"{}\"", "ab ".repeat(20_000)));
        assert_eq!(many.strings()[0].len(), TEXT_WORDS_MAX);
        let long = Words::of_json(&format!("\"{}\"", format!("{} ", "x".repeat(60)).repeat(5_000)));
        assert!(long.bytes <= TEXT_BYTES_MAX && long.bytes > TEXT_BYTES_MAX - 64);
    }

    proptest! {
        #[test]
        fn any_text_becomes_words_that_stay_as_they_are(text in any::<String>()) {
            let once = of(&text);
            for word in &once {
                prop_assert!(!word.is_empty() && word.chars().all(is_word), "{word:?}");
                prop_assert!(word.chars().count() <= WORD_CHARS_MAX);
                // Neither database's syntax can be written with a word.
                prop_assert!(!word.chars().any(|c| c.is_ascii() && !c.is_ascii_alphanumeric()), "{word:?}");
            }
            prop_assert_eq!(of(&once.join(" ")), once);
        }

        #[test]
        fn any_json_string_is_searched_like_its_text(text in any::<String>()) {
            let body = serde_json::to_string(&text).unwrap();
            let found: Vec<String> = Words::of_json(&body).strings().concat();
            prop_assert_eq!(found, of(&text));
        }
    }
}
