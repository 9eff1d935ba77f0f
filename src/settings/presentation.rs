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
    /// When there are colours.
    pub color: ColorMode,
}

/// The format of a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ResultFormat {
    /// Of work: text on a terminal, JSON elsewhere. The answer to a question: text.
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

/// When there are colours.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ColorMode {
    /// On a terminal that has them, as `NO_COLOR`, `CLICOLOR` and `CLICOLOR_FORCE` say.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}
