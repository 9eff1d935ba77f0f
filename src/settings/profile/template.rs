//! Texts with places for parameters of a request: `{name}`, `{name|default}`, `{name?text}` and `{name:number}`.

/// A text with places.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template(Vec<Piece>);

#[derive(Clone, PartialEq, Eq, Debug)]
enum Piece {
    Text(String),
    Place(PlaceOf),
}

/// A place for a parameter.
#[derive(Clone, PartialEq, Eq, Debug)]
struct PlaceOf {
    name: String,
    /// What stands there where the parameter has no value, and another place has one.
    default: Option<String>,
    /// What stands there in place of the value.
    text: Option<String>,
    is_number: bool,
}

impl Template {
    /// Reads a text. Braces around anything but a name are text.
    pub fn parse(text: &str) -> Template {
        let (mut pieces, mut plain, mut rest) = (Vec::new(), String::new(), text);
        while let Some(start) = rest.find('{') {
            let place = rest[start + 1..].find('}').and_then(|end| Some((end, PlaceOf::parse(&rest[start + 1..start + 1 + end])?)));
            let Some((end, place)) = place else {
                plain.push_str(&rest[..=start]);
                rest = &rest[start + 1..];
                continue;
            };
            plain.push_str(&rest[..start]);
            if !plain.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut plain)));
            }
            pieces.push(Piece::Place(place));
            rest = &rest[start + end + 2..];
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        Template(pieces)
    }

    /// Whether it is an empty text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names of its parameters.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.places().map(|place| place.name.as_str())
    }

    fn places(&self) -> impl Iterator<Item = &PlaceOf> {
        self.0.iter().filter_map(|piece| if let Piece::Place(place) = piece { Some(place) } else { None })
    }

    /// Whether it is one place for a number, and nothing else.
    pub fn is_number(&self) -> bool {
        matches!(self.0.as_slice(), [Piece::Place(place)] if place.is_number)
    }

    /// The text with its places filled; `None` if it has places and no parameter has a value.
    pub fn fill<'v>(&self, value: &impl Fn(&str) -> Option<&'v str>) -> Option<String> {
        let has_places = self.places().next().is_some();
        if has_places && self.places().all(|place| value(&place.name).is_none()) {
            return None;
        }
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Place(place) => match (value(&place.name), &place.text) {
                (Some(_), Some(text)) => text.clone(),
                (Some(value), None) => value.to_owned(),
                (None, _) => place.default.clone().unwrap_or_default(),
            },
        };
        Some(self.0.iter().map(piece).collect())
    }
}

impl PlaceOf {
    fn parse(inside: &str) -> Option<PlaceOf> {
        let end =
            inside.find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']' | '$'))).unwrap_or(inside.len());
        let (name, rest) = inside.split_at(end);
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        let (is_number, rest) = rest.strip_prefix(":number").map_or((false, rest), |rest| (true, rest));
        let place = |default: Option<&str>, text: Option<&str>| PlaceOf {
            name: name.to_owned(),
            default: default.map(str::to_owned),
            text: text.map(str::to_owned),
            is_number,
        };
        match rest.chars().next() {
            None => Some(place(None, None)),
            Some('|') => Some(place(rest.get(1..), None)),
            Some('?') => Some(place(None, rest.get(1..))),
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn braces_around_a_name_are_a_place() {
        let fill = |text: &str| Template::parse(text).fill(&|name| (name == "a").then_some("1"));
        for (text, expected) in [
            ("plain", Some("plain")),
            ("{a}", Some("1")),
            ("x{a},{b|0}{b}y", Some("x1,0y")),
            ("{a?there}", Some("there")),
            ("{b}", None),
            ("{b|0}", None),
            ("{ a } {} {9} {a", Some("{ a } {} {9} {a")),
            ("query { orders { id } } {a:number}", Some("query { orders { id } } 1")),
        ] {
            assert_eq!(fill(text).as_deref(), expected, "{text}");
        }
        assert!(Template::parse("{a:number}").is_number() && !Template::parse("x{a:number}").is_number());
        assert_eq!(Template::parse("{a}{b|c}").names().collect::<Vec<_>>(), ["a", "b"]);
    }
}
