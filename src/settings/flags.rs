//! The flags of a command line, by the setting that each belongs to. Knows no clap.

use std::collections::BTreeMap;

use super::{ConfiguredValue, Origin, Setting};

/// Values from the command line.
#[derive(Clone, Debug, Default)]
pub struct Flags(BTreeMap<&'static str, String>);

impl Flags {
    /// Adds the value of a setting's flag.
    #[must_use]
    pub fn with(mut self, setting: &Setting, value: impl Into<String>) -> Flags {
        self.set(setting, value.into());
        self
    }

    /// Sets the value of a setting's flag.
    pub fn set(&mut self, setting: &Setting, value: String) {
        self.0.insert(setting.flag, value);
    }

    /// These flags and those.
    #[must_use]
    pub fn and(mut self, more: &Flags) -> Flags {
        self.0.extend(more.0.iter().map(|(flag, value)| (*flag, value.clone())));
        self
    }

    /// These flags without one.
    pub(super) fn without(&self, flag: &str) -> Flags {
        Flags(self.0.iter().filter(|(other, _)| **other != flag).map(|(flag, value)| (*flag, value.clone())).collect())
    }

    /// The names of the flags.
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.0.keys().copied()
    }

    pub(super) fn get(&self, setting: &Setting) -> Option<ConfiguredValue> {
        let value = self.0.get(setting.flag).filter(|_| !setting.flag.is_empty())?;
        Some(ConfiguredValue { value: value.clone(), origin: Origin::Flag(setting.flag) })
    }
}
