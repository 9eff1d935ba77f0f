//! Where a value stands in a JSON document.

use std::{fmt, str::FromStr};

/// The keys (and places in arrays) that lead to a value. Written with dots (`customer.address.0.city`, or `[0]` for a place
/// in an array) or as a JSON Pointer (`/customer/address/0/city`, RFC 6901), which also reaches keys that hold a dot.
/// The step `*` is every element of an array (`consignments.*.line_items`): only some fields take such a path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FieldPath(Vec<String>);

/// A path that names nothing.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("write a path like `customer.id`, `lines.0.sku` or `/customer/id`")]
pub struct FieldPathError;

/// The step for every element of an array.
pub const WILDCARD: &str = "*";

impl FieldPath {
    /// The whole document.
    pub fn root() -> FieldPath {
        FieldPath(Vec::new())
    }

    /// The path of these steps, outermost first.
    pub fn of_steps(steps: &[String]) -> FieldPath {
        FieldPath(steps.to_vec())
    }

    /// The steps, outermost first.
    pub fn steps(&self) -> &[String] {
        &self.0
    }

    /// Whether it leads into every element of an array.
    pub fn has_wildcard(&self) -> bool {
        self.0.iter().any(|step| step == WILDCARD)
    }

    /// The path of a step within this one.
    #[must_use]
    pub fn child(&self, step: &str) -> FieldPath {
        FieldPath(self.0.iter().cloned().chain([step.to_owned()]).collect())
    }
}

impl FromStr for FieldPath {
    type Err = FieldPathError;

    fn from_str(text: &str) -> Result<FieldPath, FieldPathError> {
        let text = text.trim();
        let steps: Vec<String> = match text.strip_prefix('/') {
            Some(pointer) => pointer.split('/').map(pointer_step).collect::<Option<_>>().ok_or(FieldPathError)?,
            None => dotted_steps(text).ok_or(FieldPathError)?,
        };
        if steps.iter().any(String::is_empty) { Err(FieldPathError) } else { Ok(FieldPath(steps)) }
    }
}

/// A step of a JSON Pointer; `None` where a `~` stands for nothing.
fn pointer_step(step: &str) -> Option<String> {
    let is_escape = |rest: &str| rest.starts_with(['0', '1']);
    step.split('~').skip(1).all(is_escape).then(|| step.replace("~1", "/").replace("~0", "~"))
}

/// The steps of a path with dots. Of `JSONPath`, which is another language, only places in arrays are understood: `a[0].b`.
fn dotted_steps(text: &str) -> Option<Vec<String>> {
    let mut steps = Vec::new();
    for part in text.split('.') {
        let (name, places) = part.find('[').map_or((part, ""), |start| part.split_at(start));
        if name.contains(']') || (steps.is_empty() && matches!(name, "$" | WILDCARD)) {
            return None;
        }
        if !name.is_empty() || places.is_empty() {
            steps.push(name.to_owned());
        }
        let mut rest = places;
        while !rest.is_empty() {
            let (place, behind) = rest.strip_prefix('[')?.split_once(']')?;
            if place != WILDCARD && (place.is_empty() || !place.bytes().all(|byte| byte.is_ascii_digit())) {
                return None;
            }
            steps.push(place.to_owned());
            rest = behind;
        }
    }
    Some(steps)
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.iter().any(|step| step.contains(['.', '[', ']']) || step.starts_with('/')) {
            return self.0.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")));
        }
        f.write_str(&self.0.join("."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_brackets_and_pointers_say_the_same() {
        let path = |text: &str| text.parse::<FieldPath>().unwrap();
        assert_eq!(path("a.b.0.c"), path("/a/b/0/c"));
        assert_eq!(path("a.b[0].c"), path("/a/b/0/c"));
        assert_eq!(path("/a.b/c~1d").steps(), ["a.b", "c/d"]);
        for text in ["a.b.0", "/a.b/c~1d"] {
            assert_eq!(path(&path(text).to_string()), path(text));
        }
        assert_eq!(path("a[0][1].b"), path("/a/0/1/b"));
        assert_eq!(path("a[*].b"), path("a.*.b"));
        assert!(path("a.*.b").has_wildcard() && !path("a.b").has_wildcard());
        assert_eq!(path("_id.$oid").steps(), ["_id", "$oid"]);
        for text in ["", "a..b", "/", "a.", "$.a", "$", "*.a", "a[0", "a]0[", "a[x]", "a[]", "*", "/a~2b", "/a~"] {
            assert_eq!(text.parse::<FieldPath>(), Err(FieldPathError), "{text}");
        }
    }
}
