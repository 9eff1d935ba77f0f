//! Compares what was observed with what is remembered.

use super::{
    ChangeKind, JsonType, JsonTypes, Keys, MOST_KEYS, MOST_PATHS, NEEDED_RECORDS, ObservedShape, Shape,
    observed::ObservedNode,
    shape::{Evidence, Presence},
};

/// What has changed, and what is to be remembered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Comparison {
    /// The changes: first those that may cost money, then by kind and path.
    pub changes: Vec<PathChange>,
    /// The shape to remember; `None` if nothing was ever observed.
    pub shape: Option<Shape>,
    /// Whether paths were left out: they are too many or too deep.
    pub is_cut: bool,
}

/// A path that has changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PathChange {
    /// The keys that lead to it; `*` is every element of a list, and every key of a map.
    pub steps: Vec<String>,
    /// How it has changed.
    pub kind: ChangeKind,
    /// The types that were observed.
    pub types: JsonTypes,
    /// The types that were seen before.
    pub was: JsonTypes,
    /// Whether a number there has decimals or an exponent.
    pub has_fractions: bool,
    /// Whether the run reads it.
    pub is_read: bool,
}

impl PathChange {
    /// Whether the run reads a value that is no longer there, or is of another type.
    fn may_cost_money(&self) -> bool {
        self.is_read && self.kind != ChangeKind::New
    }

    /// Whether there never was a value before: no path, or only null.
    pub fn is_first_value(&self) -> bool {
        self.kind == ChangeKind::New || (self.kind == ChangeKind::Retyped && self.was.of_values().is_empty())
    }

    /// The type of its values if they are texts, numbers or booleans; text if they are mixed.
    pub fn scalar_type(&self) -> Option<JsonType> {
        let mut types = self.types.of_values().iter();
        let first = types.next().filter(|_| !self.types.has_container())?;
        Some(if types.next().is_none() { first } else { JsonType::Text })
    }
}

/// Compares observed records with the remembered shape of their source. Of a source without one, everything is remembered and
/// nothing is a change. `is_read` tells which paths the run reads.
pub fn compare(known: Option<&Shape>, observed: &ObservedShape, is_read: &dyn Fn(&[String]) -> bool) -> Comparison {
    if observed.records() == 0 {
        return Comparison { changes: Vec::new(), shape: known.cloned(), is_cut: false };
    }
    let Some(known) = known else {
        let shape = Shape::of_observed(&observed.root, observed.records());
        return Comparison { changes: Vec::new(), shape: Some(shape), is_cut: observed.is_cut() };
    };
    let (mut shape, mut root) = (known.clone(), observed.root.clone());
    align_fields(&mut shape, &mut root);
    let mut comparer = Comparer {
        records: observed.records(),
        room: MOST_PATHS.saturating_sub(shape.size()),
        is_cut: observed.is_cut(),
        is_conclusive: observed.records() >= NEEDED_RECORDS && !observed.has_too_many(),
        is_read,
        path: Vec::new(),
        changes: Vec::new(),
    };
    comparer.update(&mut shape, &root);
    let Comparer { mut changes, is_cut, .. } = comparer;
    changes.sort_by(|a, b| (!a.may_cost_money(), a.kind, &a.steps).cmp(&(!b.may_cost_money(), b.kind, &b.steps)));
    Comparison { changes, shape: Some(shape), is_cut }
}

/// Makes maps of the same objects on both sides.
fn align(known: &mut Shape, seen: &mut ObservedNode) {
    let new_keys = seen.fields.keys().filter(|key| !known.fields.contains_key(*key)).count();
    if known.keys == Keys::Data || seen.keys == Keys::Data || known.fields.len() + new_keys > MOST_KEYS {
        known.fold();
        seen.fold();
    }
    align_fields(known, seen);
}

fn align_fields(known: &mut Shape, seen: &mut ObservedNode) {
    for (key, field) in &mut seen.fields {
        if let Some(known) = known.fields.get_mut(key) {
            align(known, field);
        }
    }
}

struct Comparer<'a> {
    /// The number of observed records.
    records: u64,
    /// How many more paths can be remembered.
    room: usize,
    is_cut: bool,
    /// Whether a path that is not there has vanished: few records say nothing, and of too many paths it may have been left out.
    is_conclusive: bool,
    is_read: &'a dyn Fn(&[String]) -> bool,
    /// The steps to the place at hand.
    path: Vec<String>,
    changes: Vec<PathChange>,
}

impl Comparer<'_> {
    /// Updates a path that was seen before and is seen again.
    fn update(&mut self, known: &mut Shape, seen: &ObservedNode) {
        if !self.path.is_empty() && !seen.types.of_values().without(known.types).is_empty() {
            self.push(ChangeKind::Retyped, seen.types, known.types, seen.has_fractions);
        }
        known.types = known.types.with(seen.types);
        let now = Presence::of(seen.records, self.records);
        known.evidence = match (Evidence::of(self.records), known.presence) {
            (Evidence::Enough, _) => Evidence::Enough,
            // It is back: whether for good, few records do not tell.
            (Evidence::Few, Presence::Vanished) => Evidence::Few,
            (Evidence::Few, Presence::Always | Presence::Sometimes) => known.evidence,
        };
        known.presence = match known.presence {
            Presence::Always | Presence::Vanished => now,
            Presence::Sometimes => Presence::Sometimes,
        };
        for (key, field) in &seen.fields {
            self.path.push(key.clone());
            match known.fields.get_mut(key) {
                Some(known) => self.update(known, field),
                None => self.add(known, key, field),
            }
            self.path.pop();
        }
        for (key, field) in &mut known.fields {
            if !seen.fields.contains_key(key) {
                self.path.push(key.clone());
                self.miss(field);
                self.path.pop();
            }
        }
    }

    /// Takes a path that was never seen. What there is no room to remember is not told either: it would be told by every run.
    fn add(&mut self, known: &mut Shape, key: &str, seen: &ObservedNode) {
        let size = 1 + seen.size();
        if size > self.room {
            self.is_cut = true;
            return;
        }
        self.room -= size;
        self.tell_new(seen);
        known.fields.insert(key.to_owned(), Shape::of_observed(seen, self.records));
    }

    fn tell_new(&mut self, seen: &ObservedNode) {
        let before = self.changes.len();
        for (key, field) in &seen.fields {
            self.path.push(key.clone());
            self.tell_new(field);
            self.path.pop();
        }
        if self.changes.len() == before || self.is_told_itself(seen.types) {
            self.push(ChangeKind::New, seen.types, JsonTypes::default(), seen.has_fractions);
        }
    }

    /// Marks a path that no observed record has, if all had it before, and these were enough.
    fn miss(&mut self, known: &mut Shape) {
        if !self.is_conclusive || known.presence != Presence::Always {
            return;
        }
        if known.evidence == Evidence::Few {
            known.presence = Presence::Sometimes;
            return;
        }
        known.presence = Presence::Vanished;
        let before = self.changes.len();
        for (key, field) in &mut known.fields {
            self.path.push(key.clone());
            self.miss(field);
            self.path.pop();
        }
        if self.changes.len() == before || self.is_told_itself(known.types) {
            self.push(ChangeKind::Vanished, JsonTypes::default(), known.types, false);
        }
    }

    /// Whether a path is told beside the paths within it: if it has values of its own, or is read as a whole.
    fn is_told_itself(&self, types: JsonTypes) -> bool {
        types.has_scalar() || (self.is_read)(&self.path)
    }

    fn push(&mut self, kind: ChangeKind, types: JsonTypes, was: JsonTypes, has_fractions: bool) {
        let is_read = (self.is_read)(&self.path);
        self.changes.push(PathChange { steps: self.path.clone(), kind, types, was, has_fractions, is_read });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drift::Place;

    fn fill(place: &mut Place<'_>, value: &serde_json::Value) {
        use serde_json::Value;
        place.is_a(match value {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::Text,
            Value::Array(_) => JsonType::List,
            Value::Object(_) => JsonType::Object,
        });
        match value {
            Value::Object(object) => object.iter().for_each(|(key, value)| {
                if let Some(mut field) = place.field(key) {
                    fill(&mut field, value);
                }
            }),
            Value::Array(list) => list.iter().for_each(|value| {
                if let Some(mut element) = place.element() {
                    fill(&mut element, value);
                }
            }),
            _ => {}
        }
    }

    fn observed(records: &[&str]) -> ObservedShape {
        let mut shape = ObservedShape::default();
        for record in records {
            fill(&mut shape.record(), &serde_json::from_str(record).unwrap());
        }
        shape
    }

    fn many(record: &str) -> ObservedShape {
        observed(&[record; 50])
    }

    /// What the records of runs change, one after the other, as `kind path types<was`; `!` if it may cost money.
    fn told(runs: &[ObservedShape]) -> Vec<Vec<String>> {
        let mut shape = None;
        let mut all = Vec::new();
        for run in runs {
            let is_read = |steps: &[String]| ["id", "items", "items.*.sku"].contains(&steps.join(".").as_str());
            let comparison = compare(shape.as_ref(), run, &is_read);
            let letters = |types: JsonTypes| String::from(types);
            all.push(
                comparison
                    .changes
                    .iter()
                    .map(|change| {
                        let (money, kind) = (if change.may_cost_money() { "!" } else { "" }, change.kind.as_str());
                        format!("{money}{kind} {} {}<{}", change.steps.join("."), letters(change.types), letters(change.was))
                    })
                    .collect(),
            );
            let again = compare(comparison.shape.as_ref(), run, &is_read);
            assert_eq!((again.changes, &again.shape), (Vec::new(), &comparison.shape), "the same records change nothing");
            shape = comparison.shape;
        }
        all
    }

    #[test]
    fn what_was_never_seen_is_new_once() {
        let (plain, more) = (observed(&[r#"{"id":1}"#]), observed(&[r#"{"id":1}"#, r#"{"id":1,"a":{"b":1,"c":[]},"t":["x"]}"#]));
        let new = ["new a.b n<", "new a.c l<", "new t.* t<"];
        assert_eq!(told(&[plain.clone(), more.clone(), plain, more]), [vec![], new.map(str::to_owned).to_vec(), vec![], vec![]]);
    }

    #[test]
    fn a_type_that_was_never_seen_is_told_and_null_is_none() {
        let runs = [r#"{"id":1,"a":null}"#, r#"{"id":null,"a":2}"#, r#"{"id":"x","a":{"b":1}}"#, r#"{"id":1,"a":null}"#].map(many);
        let expected = [vec![], vec!["retyped a n<0"], vec!["!retyped id t<0n", "retyped a o<0n", "new a.b n<"], vec!["vanished a.b <n"]];
        assert_eq!(told(&runs), expected);
    }

    #[test]
    fn what_every_record_had_and_none_has_is_vanished_until_it_vanishes_again() {
        let (whole, few) = (r#"{"id":1,"items":[{"sku":1,"x":{"y":1}}]}"#, r#"{"items":[]}"#);
        let gone = ["!vanished id <n", "!vanished items.*.sku <n", "vanished items.*.x.y <n"].map(str::to_owned).to_vec();
        let runs = [many(whole), observed(&[few; 49]), many(few), many(few), many(whole), many(few)];
        assert_eq!(told(&runs), [vec![], vec![], gone.clone(), vec![], vec![], gone]);
        let sometimes = observed(&[[whole; 25].as_slice(), &[few; 25]].concat());
        assert_eq!(told(&[many(whole), sometimes, many(few)]), [Vec::<String>::new(), vec![], vec![]]);
        let renamed = many(r#"{"id":1,"lines":[{"sku":1}]}"#);
        let told = told(&[many(r#"{"id":1,"items":[{"sku":1}]}"#), renamed]);
        assert_eq!(told[1], ["!vanished items <l", "!vanished items.*.sku <n", "new lines.*.sku n<"]);
    }

    #[test]
    fn what_few_records_had_is_no_baseline_until_a_run_of_many_has_it() {
        let (whole, without) = (r#"{"id":1,"note":"x","gift":{"to":"y"}}"#, r#"{"id":1}"#);
        let few = || observed(&[whole; 2]);
        assert_eq!(told(&[few(), many(without), many(whole), many(without)])[1..], [Vec::<String>::new(), vec![], vec![]]);
        let gone = ["vanished gift.to <t", "vanished note <t"].map(str::to_owned).to_vec();
        assert_eq!(told(&[few(), few(), many(whole), few(), many(without)])[4], gone);
        // Few records that have it again are no new baseline.
        assert_eq!(told(&[many(whole), many(without), few(), many(without)])[1..], [gone, vec![], vec![]]);
    }

    #[test]
    fn keys_that_are_data_are_one_path_together_with_those_of_earlier_runs() {
        let keys = |from: usize| (from..from + 120).map(|key| format!(r#"{{"id":1,"m":{{"k{key}":{{"a":1}}}}}}"#)).collect::<Vec<_>>();
        let run = |from| observed(&keys(from).iter().map(String::as_str).collect::<Vec<_>>());
        let told = told(&[run(0), run(120), run(240), many(r#"{"id":1,"m":{"z":{"a":"x","b":1}}}"#)]);
        assert_eq!(told[..3], [Vec::<String>::new(), vec![], vec![]], "more than 200 together: the keys are no names");
        assert_eq!(told[3], ["retyped m.*.a t<n", "new m.*.b n<"]);
    }

    #[test]
    fn what_can_not_be_remembered_is_not_told() {
        let wide = |from: usize| {
            let objects = (from..from + 15).map(|outer| {
                let keys: Vec<_> = (0..130).map(|inner| format!("\"i{inner}\":1")).collect();
                format!("\"o{outer}\":{{{}}}", keys.join(","))
            });
            observed(&[format!("{{{}}}", objects.collect::<Vec<_>>().join(",")).as_str()])
        };
        let (first, second) = (wide(0), wide(15));
        let known = compare(None, &first, &|_| false);
        assert!(!known.is_cut);
        let more = compare(known.shape.as_ref(), &second, &|_| false);
        assert!(more.is_cut && more.changes.is_empty() && more.shape == known.shape, "{:?}", more.changes.len());
    }
}
