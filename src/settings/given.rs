//! Command lines to propose. They repeat what this command line said by options, so that a copied one works on the same layer.
//!
//! Responsible for which options are repeated, and for their quotes in a shell. Not for when a command is of use.

use std::borrow::Cow;

use reqwest::Url;

use super::{Flags, Setting, Settings, redacted, setting};
use crate::model::shell_word;

/// Options that say where the settings and the layer are: every command takes them.
const OF_LAYER: [&Setting; 2] = [&setting::CONFIG, &setting::OUTPUT];

/// Options that say where the orders are: commands that look at them, or load them, take these.
const OF_ORDERS: [&Setting; 3] = [&setting::PROFILE, &setting::URL, &setting::ORDERS];

/// Options that say what else is read, and how: commands that load take these, too.
const OF_LOAD: [&Setting; 3] = [&setting::USERS, &setting::PRODUCTS, &setting::CURSOR];

/// Options that say which window a run loads.
const OF_WINDOW: [&Setting; 3] = [&setting::SINCE, &setting::LOOKBACK, &setting::UNTIL];

/// What a command line said by options, as far as a proposed one must repeat it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct GivenOptions {
    of_layer: String,
    of_orders: String,
    of_load: String,
    of_window: String,
}

impl GivenOptions {
    pub(super) fn of(flags: &Flags) -> GivenOptions {
        GivenOptions {
            of_layer: repeated(flags, &OF_LAYER),
            of_orders: repeated(flags, &OF_ORDERS),
            of_load: repeated(flags, &OF_LOAD),
            of_window: repeated(flags, &OF_WINDOW),
        }
    }

    /// Those of a command that has an output of its own, such as the demo.
    pub fn of_output(output: &str) -> GivenOptions {
        GivenOptions::of(&Flags::default().with(&setting::OUTPUT, output))
    }
}

/// An option that was given, as a proposed command repeats it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GivenOption {
    /// Its name: `--output`.
    pub flag: &'static str,
    /// ` --output value`.
    pub text: String,
}

impl GivenOption {
    /// All that a proposed command may have to repeat, in the order in which it has them: the window is none of them.
    pub fn all(flags: &Flags) -> Vec<GivenOption> {
        OF_LOAD.iter().chain(&OF_ORDERS).chain(&OF_LAYER).filter_map(|setting| GivenOption::of(flags, setting)).collect()
    }

    fn of(flags: &Flags, setting: &Setting) -> Option<GivenOption> {
        let value = flags.get(setting)?.value;
        Some(GivenOption { flag: setting.flag, text: format!(" {} {}", setting.flag, shell_word(&shown(&value))) })
    }
}

/// ` --option value` of each option that was given.
fn repeated(flags: &Flags, settings: &[&Setting]) -> String {
    settings.iter().filter_map(|setting| GivenOption::of(flags, setting)).map(|option| option.text).collect()
}

/// A value as it may be shown. The secrets of a URL are left out: whoever copies the command fills them in.
fn shown(value: &str) -> Cow<'_, str> {
    match Url::parse(value) {
        Ok(url) if url.has_host() && redacted(&url) != url.as_str() => redacted(&url).into(),
        _ => value.into(),
    }
}

impl Settings {
    /// A command over this layer, as one types it: `etl status --output /data/orders`.
    pub fn command_line(&self, command: &str) -> String {
        format!("etl {command}{}", self.given.of_layer)
    }

    /// A command that looks at the orders of this source, and of this shop.
    pub fn orders_command_line(&self, command: &str) -> String {
        let shop = self.shop.as_ref().map(|shop| format!(" --shop {}", shell_word(&shop.name))).unwrap_or_default();
        format!("etl {command}{shop}{}{}", self.given.of_orders, self.given.of_layer)
    }

    /// A command that loads them into this layer.
    pub fn loading_command_line(&self, command: &str) -> String {
        self.orders_command_line(&format!("{command}{}", self.given.of_load))
    }

    /// The run of these settings, with its window. Where nothing says how that begins, it follows earlier runs, as under cron.
    pub fn run_command_line(&self) -> String {
        let last = if self.since.is_none() { " --since last" } else { "" };
        self.loading_command_line(&format!("run{last}{}", self.given.of_window))
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::settings::When;

    #[test]
    fn a_proposed_command_shows_no_secret_of_a_url() {
        let flags = Flags::default().with(&setting::ORDERS, "https://me:pw@shop.example/orders?api_key=k&page=2");
        let settings = Settings { given: GivenOptions::of(&flags), ..Settings::plain(PathBuf::from("output")) };
        assert_eq!(settings.orders_command_line("probe"), "etl probe --orders 'https://shop.example/orders?api_key=***&page=2'");
    }

    #[test]
    fn a_proposed_command_repeats_what_was_given_and_nothing_else() {
        let with = |flags: &Flags| Settings { given: GivenOptions::of(flags), ..Settings::plain(PathBuf::from("output")) };
        assert_eq!(with(&Flags::default()).command_line("runs show r"), "etl runs show r");
        let flags = Flags::default()
            .with(&setting::OUTPUT, "/data/my orders")
            .with(&setting::CONFIG, "it's.toml")
            .with(&setting::ORDERS, "data/*.json")
            .with(&setting::USERS, "users.csv")
            .with(&setting::SINCE, "7d");
        assert_eq!(with(&flags).command_line("status"), r"etl status --config 'it'\''s.toml' --output '/data/my orders'");
        assert_eq!(
            with(&flags).loading_command_line("run --since last"),
            r"etl run --since last --users users.csv --orders 'data/*.json' --config 'it'\''s.toml' --output '/data/my orders'"
        );
        let probe = with(&flags).orders_command_line("probe");
        assert!(probe.starts_with("etl probe --orders ") && !probe.contains("--users"), "it takes no users: {probe}");
        let window = Flags::default().with(&setting::UNTIL, "2026-02-01").with(&setting::LOOKBACK, "2h");
        assert_eq!(with(&window).run_command_line(), "etl run --since last --lookback 2h --until 2026-02-01");
        let since = Settings { since: Some(When::Last), ..with(&Flags::default().with(&setting::SINCE, "last")) };
        assert_eq!(since.run_command_line(), "etl run --since last");
        assert_eq!(GivenOptions::of_output("output/demo").of_layer, " --output output/demo");
    }
}
