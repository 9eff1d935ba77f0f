//! A script: comments and statements, one after the other.

/// A script that grows.
pub(super) struct Script {
    text: String,
    comment: &'static str,
}

impl Script {
    /// A script of SQL.
    pub(super) fn sql() -> Script {
        Script { text: String::new(), comment: "-- " }
    }

    /// A script of a shell.
    pub(super) fn shell() -> Script {
        Script { text: String::new(), comment: "# " }
    }

    /// Adds a comment, line by line. The names of columns may hold line breaks: they are never part of it.
    pub(super) fn comment(&mut self, text: &str) {
        for line in text.lines() {
            self.line(&format!("{}{line}", self.comment));
        }
    }

    /// Adds a statement of SQL.
    pub(super) fn statement(&mut self, sql: &str) {
        self.line(&format!("{sql};"));
    }

    /// Adds a line as it is.
    pub(super) fn line(&mut self, line: &str) {
        self.text.push_str(line);
        self.text.push('\n');
    }

    pub(super) fn finish(self) -> String {
        self.text
    }
}
