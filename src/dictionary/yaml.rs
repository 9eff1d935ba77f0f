//! YAML as contracts and dbt read it. Keys are known words; texts are quoted, whatever they hold.

use std::fmt;

/// A node of a document. Lists and maps have at least one entry.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Yaml {
    /// A scalar, as it is written.
    Scalar(String),
    List(Vec<Yaml>),
    Map(Vec<(&'static str, Yaml)>),
}

impl Yaml {
    /// A known word or a number, which needs no quotes.
    pub(super) fn word(word: impl fmt::Display) -> Yaml {
        Yaml::Scalar(word.to_string())
    }

    /// A text in quotes. A text of JSON is one of YAML, but for characters that YAML does not print.
    pub(super) fn text(text: &str) -> Yaml {
        let quoted = serde_json::Value::from(text).to_string();
        let mut scalar = String::with_capacity(quoted.len());
        for letter in quoted.chars() {
            match letter {
                '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                    scalar.push_str(&format!("\\u{:04x}", u32::from(letter)));
                }
                letter => scalar.push(letter),
            }
        }
        Yaml::Scalar(scalar)
    }

    /// The document.
    pub(super) fn document(&self) -> String {
        self.block(0)
    }

    /// The lines at this depth.
    fn block(&self, depth: usize) -> String {
        let indent = "  ".repeat(depth);
        match self {
            Yaml::Scalar(scalar) => format!("{indent}{scalar}\n"),
            Yaml::List(items) => items.iter().map(|item| format!("{indent}- {}", item.block(depth + 1).trim_start())).collect(),
            Yaml::Map(entries) => entries.iter().map(|(key, value)| format!("{indent}{key}:{}", value.after_key(depth + 1))).collect(),
        }
    }

    fn after_key(&self, depth: usize) -> String {
        match self {
            Yaml::Scalar(scalar) => format!(" {scalar}\n"),
            Yaml::List(_) | Yaml::Map(_) => format!("\n{}", self.block(depth)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_and_lists_are_nested_by_indentation_and_texts_stay_in_their_line() {
        let inner = Yaml::Map(vec![("name", Yaml::text("a: \"b\"\n# c\u{85}")), ("tests", Yaml::List(vec![Yaml::word("unique")]))]);
        let document = Yaml::Map(vec![("version", Yaml::word(2)), ("tables", Yaml::List(vec![inner.clone(), inner]))]).document();
        let table = "  - name: \"a: \\\"b\\\"\\n# c\\u0085\"\n    tests:\n      - unique\n";
        assert_eq!(document, format!("version: 2\ntables:\n{table}{table}"));
    }
}
