//! All problems of the settings at once, for `etl config check`. The readers know the rules: this module only reads again.
//!
//! A reader stops at its first problem. What that problem is about is then left out, and everything is read again, until nothing is
//! refused. So that no problem is told that only the leaving out has made, what depends on a part is left out with it.

use std::collections::BTreeSet;

use serde::Serialize;

use super::{
    CredentialVariables, Environment, Flags, Origin, SETTINGS, Setting, Settings, SettingsError, SourceKind,
    environment::{FOREIGN, SHOP_PREFIX},
    file,
    merge::{self, Layers, Surroundings},
    setting, storage, telemetry,
    toml_tree::{Node, Place, Table, Value},
    without_effect,
};

/// A setting that can't be used.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Problem {
    /// What is wrong, with its place and the way out.
    pub message: String,
    /// The file, if it stands in one.
    pub file: Option<String>,
    /// Its line, counted from 1.
    pub line: Option<usize>,
}

impl From<&SettingsError> for Problem {
    fn from(error: &SettingsError) -> Problem {
        let place = place_of(error);
        Problem { message: error.to_string(), file: place.map(|place| place.file.to_string()), line: place.map(|place| place.line) }
    }
}

/// What was found in all settings.
#[derive(Clone, Default, Debug)]
pub struct Examined {
    /// What can't be used, in the order in which it is read.
    pub problems: Vec<Problem>,
    /// What is not wrong, but may be meant otherwise.
    pub notes: Vec<String>,
    /// The settings, those of each shop apart; none where there are problems.
    pub settings: Vec<Settings>,
}

/// Reads all settings, and finds every problem in them. Asks no network, and writes nothing.
pub fn examine(flags: &Flags) -> Examined {
    let surroundings = match merge::surroundings(flags) {
        Ok(surroundings) => surroundings,
        // Without its variables, nothing more can be said.
        Err(error) => return Examined { problems: vec![Problem::from(&error)], ..Examined::default() },
    };
    let (path, presence) = surroundings.file();
    let (file, unread) = match file::read_any(path, presence) {
        Ok(file) => (file, None),
        Err(error) => (Table::new(Place { file: path.to_string_lossy().as_ref().into(), line: 1 }), Some(error)),
    };
    let Surroundings { environment, .. } = surroundings;
    let mut notes = notes(&environment);
    let mut reading = Reading { flags: flags.clone(), environment, file };
    let mut problems: Vec<Problem> = unread.iter().map(Problem::from).collect();
    problems.extend(reading.leave_out_unknown_keys());
    let settings = reading.leave_out_problems(&mut problems);
    if problems.is_empty() {
        notes.extend(without_effect::notes(&reading.file, &settings));
    }
    Examined { settings: if problems.is_empty() { settings } else { Vec::new() }, problems, notes }
}

/// What the settings are read from, less what was left out.
#[derive(Clone)]
struct Reading {
    flags: Flags,
    environment: Environment,
    file: Table,
}

impl Reading {
    fn leave_out_unknown_keys(&mut self) -> Vec<Problem> {
        let unknown = file::unknown_keys(&self.file);
        for key in &unknown {
            let steps: Vec<Step> = key.path.iter().cloned().map(Step::Key).collect();
            self.file = without(&self.file, &steps);
        }
        unknown.iter().map(|key| Problem::from(&key.error)).collect()
    }

    /// Reads until nothing is refused. The settings are those that were read last.
    fn leave_out_problems(&mut self, problems: &mut Vec<Problem>) -> Vec<Settings> {
        loop {
            let error = match self.read() {
                Ok(settings) => return settings,
                Err(error) => error,
            };
            problems.push(Problem::from(&error));
            match self.without_cause_of(&error) {
                Some(rest) => *self = rest,
                // Nothing that could be left out is to blame: more can't be found.
                None => return Vec::new(),
            }
        }
    }

    fn read(&self) -> Result<Vec<Settings>, SettingsError> {
        let layers = Layers::new(&self.flags, &self.environment, &self.file);
        merge::presentation_of(&layers)?;
        merge::of_shops(&layers, &[])
    }

    /// What is left without that which an error is about: nothing is refused then, or something else is.
    fn without_cause_of(&self, error: &SettingsError) -> Option<Reading> {
        let message = error.to_string();
        let named = self.named_by(error, &message);
        let is_located = !named.is_empty();
        let mut parts = if is_located { named } else { self.parts() };
        if !is_located {
            // What the message names first is most likely to blame.
            parts.sort_by_key(|part| message.find(&part.name()).unwrap_or(usize::MAX));
        }
        let mut second = None;
        for part in parts {
            let rest = self.without(&part);
            match rest.read() {
                Ok(_) => return Some(rest),
                Err(next) if next.to_string() == message => {}
                Err(_) if is_located => return Some(rest),
                Err(_) => second = second.or(Some(rest)),
            }
        }
        second
    }

    /// The parts that an error names, the most likely one first.
    fn named_by(&self, error: &SettingsError, message: &str) -> Vec<Part> {
        if let SettingsError::Value { origin, .. } | SettingsError::SecretValue { origin, .. } = error {
            match origin {
                Origin::Flag(flag) => return vec![Part::Flag(flag)],
                Origin::Environment(name) | Origin::DotEnv(name) => return vec![Part::Variable(name.to_string())],
                Origin::File { .. } => {}
            }
        }
        let Some(place) = place_of(error) else { return Vec::new() };
        let mut here: Vec<Vec<Step>> = parts_of(&self.file).into_iter().filter(|steps| stands_at(&self.file, steps, place)).collect();
        // A part within another one is nearer to the mistake; of several on one line, the one that the message names.
        here.sort_by_key(|steps| (!message.contains(&format!("`{}", dotted(steps))), std::cmp::Reverse(steps.len())));
        here.into_iter().map(Part::Keys).collect()
    }

    /// All parts.
    fn parts(&self) -> Vec<Part> {
        let flags = self.flags.names().map(Part::Flag);
        let variables = self.environment.names().into_iter().map(|name| Part::Variable(name.to_owned()));
        flags.chain(variables).chain(parts_of(&self.file).into_iter().map(Part::Keys)).collect()
    }

    /// Without a part, and what depends on it.
    fn without(&self, part: &Part) -> Reading {
        let mut rest = self.clone();
        let setting = match part {
            Part::Flag(flag) => {
                rest.flags = rest.flags.without(flag);
                SETTINGS.iter().find(|setting| setting.flag == *flag)
            }
            Part::Variable(name) => {
                rest.environment = rest.environment.without(name);
                SETTINGS.iter().find(|setting| setting.variable == name || setting.old_names().is_some_and(|old| old.variable == name))
            }
            Part::Keys(steps) => {
                rest.file = without(&rest.file, steps);
                for steps in depending_on(steps) {
                    rest.file = without(&rest.file, &steps);
                }
                SETTINGS.iter().find(|setting| setting.key == dotted(steps))
            }
        };
        setting.into_iter().flat_map(companions).for_each(|companion| rest.leave_out(companion));
        rest
    }

    fn leave_out(&mut self, setting: &Setting) {
        self.flags = self.flags.without(setting.flag);
        self.environment = self.environment.without(setting.variable);
        let steps: Vec<Step> = setting.key.split('.').map(|key| Step::Key(key.to_owned())).collect();
        self.file = without(&self.file, &steps);
    }
}

/// A part of the settings that can be left out.
enum Part {
    Flag(&'static str),
    Variable(String),
    /// What stands in the file at the end of these steps.
    Keys(Vec<Step>),
}

impl Part {
    /// Its name, as an error has it.
    fn name(&self) -> String {
        match self {
            Part::Flag(flag) => (*flag).to_owned(),
            Part::Variable(name) => name.clone(),
            Part::Keys(steps) => dotted(steps),
        }
    }
}

/// A step into the file.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Key(String),
    Element(usize),
}

/// The settings that mean nothing without this one.
fn companions(setting: &Setting) -> Vec<&'static Setting> {
    match setting.key {
        // What a table of a source says may be about a key of the profile that it lies over.
        "profile" => vec![&setting::ORDERS, &setting::USERS, &setting::PRODUCTS],
        "http.client_cert" => vec![&setting::CLIENT_KEY],
        "http.client_key" => vec![&setting::CLIENT_CERT],
        "storage.encryption" => vec![&setting::STORAGE_KMS_KEY_ID],
        // Checks may be of a column that was left out.
        "fact.columns" | "fact.money" => vec![&setting::COLUMN_CHECKS],
        _ => Vec::new(),
    }
}

/// The keys of a source's table that say which parameters there are.
const PARAMETERS: [&str; 3] = ["pagination", "filter", "query"];

/// The keys whose texts may have places for parameters.
const TEXTS: [&str; 7] = ["query", "body", "next_body", "graphql", "variables", "line_request", "bulk"];

/// What stands in the file and means nothing without what stands at the end of these steps.
fn depending_on(steps: &[Step]) -> Vec<Vec<Step>> {
    let beside = |names: &[&str]| -> Vec<Vec<Step>> {
        let Some((_, above)) = steps.split_last() else { return Vec::new() };
        names.iter().map(|name| above.iter().cloned().chain([Step::Key((*name).to_owned())]).collect()).collect()
    };
    match steps {
        [.., Step::Key(table), Step::Key(key)] if is_source(table) => match key.as_str() {
            key if PARAMETERS.contains(&key) => beside(&TEXTS),
            "body" => beside(&["next_body"]),
            "graphql" => beside(&["variables"]),
            // The result of an operation is joined by it.
            "children" => beside(&["bulk"]),
            // The table may be about keys of the profile.
            "profile" => vec![steps[..steps.len() - 1].to_vec()],
            _ => Vec::new(),
        },
        _ => Vec::new(),
    }
}

fn is_source(key: &str) -> bool {
    SourceKind::ALL.iter().any(|kind| kind.table() == key)
}

/// The parts of a file that can be left out one by one.
fn parts_of(file: &Table) -> Vec<Vec<Step>> {
    let mut parts = Vec::new();
    for (key, node) in file.by_line() {
        let steps = vec![Step::Key(key.to_owned())];
        match (&node.value, key) {
            (Value::Table(table), _) if is_source(key) => add_source(&steps, table, &mut parts),
            (Value::List(shops), "shops") => add_shops(&steps, shops, &mut parts),
            (Value::Table(table), _) => {
                for (inner, node) in table.by_line() {
                    let inner_steps = below(&steps, Step::Key(inner.to_owned()));
                    add_elements(&inner_steps, &node.value, &mut parts);
                    parts.push(inner_steps);
                }
            }
            _ => {}
        }
        parts.push(steps);
    }
    parts
}

fn below(steps: &[Step], step: Step) -> Vec<Step> {
    steps.iter().cloned().chain([step]).collect()
}

fn add_elements(steps: &[Step], value: &Value, parts: &mut Vec<Vec<Step>>) {
    if let Value::List(elements) = value {
        parts.extend((0..elements.len()).map(|place| below(steps, Step::Element(place))));
    }
}

fn add_shops(steps: &[Step], shops: &[Node], parts: &mut Vec<Vec<Step>>) {
    for (place, shop) in shops.iter().enumerate() {
        let steps = below(steps, Step::Element(place));
        if let Value::Table(table) = &shop.value {
            for (key, node) in table.by_line() {
                if let (Value::Table(source), true) = (&node.value, is_source(key)) {
                    add_source(&below(&steps, Step::Key(key.to_owned())), source, parts);
                }
            }
        }
        parts.push(steps);
    }
}

/// Each key of a source's table is a part, and so is each of its fields.
fn add_source(steps: &[Step], table: &Table, parts: &mut Vec<Vec<Step>>) {
    for (key, node) in table.by_line() {
        let steps = below(steps, Step::Key(key.to_owned()));
        match (&node.value, key) {
            (Value::Table(fields), "fields" | "line_fields") => {
                parts.extend(fields.by_line().into_iter().map(|(name, _)| below(&steps, Step::Key(name.to_owned()))));
            }
            (value, "skip" | "skip_lines") => add_elements(&steps, value, parts),
            _ => {}
        }
        parts.push(steps);
    }
}

/// The steps as an error names them.
fn dotted(steps: &[Step]) -> String {
    let keys = steps.iter().filter_map(|step| match step {
        Step::Key(key) => Some(key.as_str()),
        Step::Element(_) => None,
    });
    keys.collect::<Vec<_>>().join(".")
}

/// The node at the end of some steps.
fn node_at<'t>(table: &'t Table, steps: &[Step]) -> Option<&'t Node> {
    let (first, rest) = steps.split_first()?;
    let Step::Key(key) = first else { return None };
    rest.iter().try_fold(table.get(key)?, |node, step| match (step, &node.value) {
        (Step::Key(key), Value::Table(table)) => table.get(key),
        (Step::Element(place), Value::List(list)) => list.get(*place),
        _ => None,
    })
}

/// Whether what stands at the end of some steps, or within it, stands at a place.
fn stands_at(table: &Table, steps: &[Step], place: &Place) -> bool {
    node_at(table, steps).is_some_and(|node| is_at(node, place))
}

fn is_at(node: &Node, place: &Place) -> bool {
    let within = match &node.value {
        Value::Table(table) => table.entries().any(|(_, node)| is_at(node, place)),
        Value::List(list) => list.iter().any(|node| is_at(node, place)),
        _ => false,
    };
    node.place == *place || within
}

/// A table without what stands at the end of some steps.
fn without(table: &Table, steps: &[Step]) -> Table {
    let mut rest = table.clone();
    let Some((Step::Key(key), inner)) = steps.split_first() else { return rest };
    let Some(node) = rest.remove(key) else { return rest };
    if !inner.is_empty() {
        rest.insert(key, node_without(node, inner));
    }
    rest
}

fn node_without(node: Node, steps: &[Step]) -> Node {
    let Node { place, value } = node;
    let value = match (value, steps) {
        (Value::Table(table), _) => Value::Table(without(&table, steps)),
        (Value::List(list), [Step::Element(number), inner @ ..]) => Value::List(
            list.into_iter()
                .enumerate()
                .filter(|(at, _)| !inner.is_empty() || at != number)
                .map(|(at, node)| if at == *number { node_without(node, inner) } else { node })
                .collect(),
        ),
        (value, _) => value,
    };
    Node { place, value }
}

/// The line that an error is about.
fn place_of(error: &SettingsError) -> Option<&Place> {
    match error {
        SettingsError::File { place, .. }
        | SettingsError::Value { origin: Origin::File { place, .. }, .. }
        | SettingsError::SecretValue { origin: Origin::File { place, .. }, .. } => Some(place),
        _ => None,
    }
}

/// How many letters of a variable may be wrong for it to be taken for another.
const NEAR: usize = 2;

/// Variables that nothing reads and whose names are near to those of others, and values of telemetry that are not used.
fn notes(environment: &Environment) -> Vec<String> {
    let known: BTreeSet<String> = known_variables().collect();
    let unread = environment.names().into_iter().filter(|name| !known.contains(*name) && !name.starts_with(SHOP_PREFIX));
    let near = unread.filter_map(|name| {
        let (distance, nearest) = known.iter().map(|known| (strsim::damerau_levenshtein(name, known), known)).min()?;
        (distance <= NEAR).then(|| format!("{name}: nothing reads this variable: did you mean {nearest}?"))
    });
    let mut notes: Vec<String> = near.collect();
    notes.extend(telemetry::read(environment).into_iter().flat_map(|telemetry| telemetry.problems));
    notes
}

/// The variables that are read, but for those of shops.
pub(super) fn known_variables() -> impl Iterator<Item = String> {
    let names = |setting: &'static Setting| [setting.variable].into_iter().chain(setting.old_names().map(|old| old.variable));
    let of_settings = SETTINGS.iter().flat_map(names).filter(|name| !name.is_empty());
    let others = FOREIGN.into_iter().chain(storage::VARIABLES).chain(telemetry::VARIABLES);
    let credentials = CredentialVariables::ALL.into_iter().flat_map(|variables| variables.names().all());
    of_settings.chain(others).map(str::to_owned).chain(credentials)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(toml: &str, process: &[(&str, &str)]) -> Vec<String> {
        let file = Table::parse("etl.toml", toml).unwrap();
        let mut reading = Reading { flags: Flags::default(), environment: Environment::of(process, &[]), file };
        let mut problems = reading.leave_out_unknown_keys();
        reading.leave_out_problems(&mut problems);
        problems.into_iter().map(|problem| problem.message).collect()
    }

    /// Each of these is wrong by itself, and is told by itself.
    #[test]
    fn each_problem_is_found_once_and_none_is_made_by_another() {
        let toml = "lookbak = '1h'\nthreads = 0\n[http]\nread_timeout = 'x'\nclient_cert = 5\nclient_key = 'k'\n[orders]\nlocation = 'o.json'\nauth = { kind = 'oauth' }\npagination = { kind = 'page', first = -1 }\nquery = { q = '{since}' }\nfilter = { since = 5 }\n[orders.fields]\norder_id = 'a..b'\ncolour = 'c'\nstatus = { path = 's', scale = 2 }\n[[fact.columns]]\nname = 'a b'\npath = 'x'\n[[fact.columns]]\nname = 'ok'\n[[checks.column]]\ncolumn = 'ok'\nunique = true\n";
        let found =
            problems(toml, &[("ETL_CHECK_SCOPE", "half"), ("ETL_API_TOKEN", "t"), ("ETL_API_USER", "u"), ("ETL_API_PASSWORD", "p")]);
        let expected = [
            "line 1: unknown key `lookbak`",
            "line 2: `threads`: `0`",
            "line 4: `http.read_timeout`: `x`",
            "line 5: `http.client_cert`: write a text",
            "line 9: `orders.auth.kind`: `oauth` is no kind",
            "line 10: `orders.pagination.first`: `-1`",
            "line 12: `orders.filter.since`: write a text",
            "line 14: `orders.fields.order_id`: `a..b`",
            "line 15: `orders.fields.colour`: unknown field",
            "line 16: `orders.fields.status.scale`: `scale` belongs to amounts",
            "line 18: `fact.columns.name`: `a b`",
            "`fact.columns.path`: column `ok` needs a path",
            "ETL_CHECK_SCOPE: `half`",
            "ETL_API_TOKEN and ETL_API_USER are both set",
        ];
        for part in expected {
            assert_eq!(found.iter().filter(|message| message.contains(part)).count(), 1, "{part}: {found:#?}");
        }
        assert_eq!(found.len(), expected.len(), "{found:#?}");
    }

    #[test]
    fn mistakes_of_two_shops_are_found_together() {
        let toml = "[[shops]]\nname = 'a'\norders = { location = 'a.json', page_size = 0 }\n[[shops]]\nname = 'b'\n[shops.orders]\nlocation = 'b.json'\nfields = { order_id = 'a..b', status = 'c..d' }\n[[shops]]\nname = 'c d'\norders = 'c.json'\n";
        let found = problems(toml, &[]);
        for part in [
            "line 3: `orders.page_size`",
            "`orders.fields.order_id`: `a..b`",
            "`orders.fields.status`: `c..d`",
            "line 10: `shops.name`: `c d`",
        ] {
            assert_eq!(found.iter().filter(|message| message.contains(part)).count(), 1, "{part}: {found:#?}");
        }
        assert_eq!(found.len(), 4, "{found:#?}");
    }

    #[test]
    fn settings_without_problems_have_none() {
        for toml in ["", "orders = 'o.json'", "profile = 'shopify'\nurl = 'https://h'\n[orders.pagination]\nsize_parameter = 'n'\n"] {
            assert_eq!(problems(toml, &[]), Vec::<String>::new(), "{toml}");
        }
    }

    #[test]
    fn a_profile_that_is_not_there_is_told_alone() {
        let toml = "profile = 'shopfy'\nurl = 'https://h'\n[orders.pagination]\nsize_parameter = 'n'\n[users]\nprofile = 'woo'\nfields = { user_id = 'a..b' }\n";
        let found = problems(toml, &[]);
        assert!(found.len() == 1 && found[0].contains("`shopfy`: no such profile"), "{found:#?}");
    }

    #[test]
    fn only_variables_that_are_near_to_others_are_noted() {
        let environment =
            Environment::of(&[("ETL_OUTPT", "x"), ("ETL_HOME", "x"), ("ETL_OUTPUT", "x"), ("ETL_SHOP_DE_API_TOKEN", "x")], &[]);
        assert_eq!(notes(&environment), ["ETL_OUTPT: nothing reads this variable: did you mean ETL_OUTPUT?"]);
    }
}
