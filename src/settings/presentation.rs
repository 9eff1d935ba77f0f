//! How results and logs look. Prints nothing.

/// How results and logs look.
#[derive(Clone, Copy, Debug, Default)]
pub struct Presentation {
    /// The format of the result.
    pub format: ResultFormat,
    /// The format of the log.
    pub log_format: LogFormat,
    /// Whether no progress is shown.
    pub no_progress: bool,
}

/// The format of a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ResultFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// The format of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// For people.
    Text,
    /// One line of JSON per event.
    Json,
    /// The same, under the names of the Elastic Common Schema.
    Ecs,
}
