//! Which kept records a rebuild maps again: those of committed runs of its source, in the order of their commits.
//!
//! A row without `updated_at` has the oldest version, and of equal versions the one that comes later wins. So records of before a
//! run that kept none may be older than what that run has loaded. Likewise, orders that a run deleted would come back, and what
//! another source corrected would be undone. Such records count only if they are asked for.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    coverage::SourceIdentity,
    model::Window,
    normalize::TimestampWindow,
    report::{self, CommandName, RawKept, RebuildGap, RebuiltFrom, Summary},
    run::{RequestError, RunError},
    store::{Key, Output, places},
};

/// Whether records count that were kept before a run which did what no kept record tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Gaps {
    /// They are left out.
    StopAt,
    /// They count.
    Across,
}

/// The kept records that a rebuild maps again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::run) struct RawInput {
    /// The runs that have kept them, in the order of their commits.
    pub(super) runs: Vec<RawRun>,
    /// The runs that count, and those that were left out.
    pub(in crate::run) from: RebuiltFrom,
    /// Runs whose records are there, and that were not committed as far as their reports tell.
    pub(in crate::run) uncommitted: usize,
}

/// A run that has kept records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::run) struct RawRun {
    pub(super) run_id: String,
    pub(super) key: Key,
    /// The size of its file, and the number of records in it.
    pub(super) bytes: u64,
    pub(super) records: u64,
    /// The window that it loaded: what it delivered beside that counts as little as it did then.
    pub(in crate::run) within: TimestampWindow,
    /// What the run was started as.
    pub(in crate::run) command: CommandName,
}

impl RawRun {
    fn of(run: &Summary, kept: &RawKept) -> RawRun {
        let window = Window { since: run.since, until: run.until };
        RawRun {
            run_id: run.run_id.clone(),
            key: places::raw_orders(&run.run_id),
            bytes: kept.bytes,
            records: kept.records,
            within: TimestampWindow { window, cursor: run.cursor },
            command: run.command,
        }
    }
}

impl RawInput {
    /// The kept records of a source.
    ///
    /// # Errors
    /// There are none (exit 2); I/O errors (exit 5).
    pub(in crate::run) fn choose(output: &Output, source: &SourceIdentity, gaps: Gaps) -> Result<RawInput, RunError> {
        let names = output.names(places::RAW)?;
        let kept: BTreeSet<String> = names.iter().filter_map(|name| places::run_of_folder(name)).map(str::to_owned).collect();
        let nothing = |detail: String| RequestError::NothingKept { output: output.location(), detail };
        let Some(oldest) = kept.first() else { return Err(nothing(String::new()).into()) };
        let reports = report::recorded_summaries(output)?.take_while(|run| run.as_ref().ok().is_none_or(|run| run.run_id >= *oldest));
        let reports: Vec<_> = reports.collect::<Result<_, _>>()?;
        let mut input = Choice { source, gaps, kept: &kept }.of(&reports);
        let committed: BTreeSet<&str> = reports.iter().filter(|run| run.commit.is_some()).map(|run| run.run_id.as_str()).collect();
        input.uncommitted = kept.iter().filter(|run_id| !committed.contains(run_id.as_str())).count();
        if input.runs.is_empty() {
            return Err(nothing(left_out(&input.from)).into());
        }
        Ok(input)
    }
}

/// What was left out, in words; empty if nothing was.
fn left_out(from: &RebuiltFrom) -> String {
    let RebuiltFrom { runs_undone, runs_before_gap, gap_run, gap, runs_of_other_sources, .. } = from;
    let mut parts = Vec::new();
    if *runs_before_gap > 0 {
        let (run_id, did) = (gap_run.as_deref().unwrap_or_default(), gap.map_or("", RebuildGap::shown));
        parts.push(format!("{runs_before_gap} of before run {run_id}, {did} (--across-gaps takes them)"));
    }
    if *runs_undone > 0 {
        parts.push(format!("{runs_undone} that were undone"));
    }
    if *runs_of_other_sources > 0 {
        parts.push(format!("{runs_of_other_sources} of another source or profile"));
    }
    if parts.is_empty() { String::new() } else { format!(". Left out are runs: {}", parts.join(", ")) }
}

/// Chooses among runs by their reports.
struct Choice<'a> {
    source: &'a SourceIdentity,
    gaps: Gaps,
    /// The runs that have a folder in `raw/`.
    kept: &'a BTreeSet<String>,
}

impl Choice<'_> {
    fn of(&self, reports: &[Summary]) -> RawInput {
        let by_id: BTreeMap<&str, &Summary> = reports.iter().map(|run| (run.run_id.as_str(), run)).collect();
        let mut committed: Vec<&Summary> = reports.iter().filter(|run| run.commit.is_some()).collect();
        committed.sort_by_key(|run| run.commit);
        let undone = report::undone_runs(committed.iter().copied());
        let mut input = RawInput { runs: Vec::new(), from: RebuiltFrom::default(), uncommitted: 0 };
        let from = &mut input.from;
        for run in committed.iter().filter(|run| !matches!(run.command, CommandName::Undo | CommandName::Rebuild)) {
            let kept = run.raw.as_ref().filter(|_| self.kept.contains(&run.run_id));
            if undone.contains_key(&run.run_id) {
                from.runs_undone += u64::from(kept.is_some());
                continue;
            }
            let is_own = self.is_of_source(run, &by_id);
            if let Some(gap) = self.gap(run, is_own, kept).filter(|_| self.gaps == Gaps::StopAt && !input.runs.is_empty()) {
                from.runs_before_gap += input.runs.len() as u64;
                (from.gap_run, from.gap) = (Some(run.run_id.clone()), Some(gap));
                input.runs.clear();
            }
            match kept {
                Some(kept) if is_own => input.runs.push(RawRun::of(run, kept)),
                kept => from.runs_of_other_sources += u64::from(kept.is_some()),
            }
        }
        from.runs = input.runs.len() as u64;
        input
    }

    /// What a run did that no kept record tells; `None`: nothing. Other shops have orders of their own.
    fn gap(&self, run: &Summary, is_own: bool, kept: Option<&RawKept>) -> Option<RebuildGap> {
        if !is_own {
            let is_other_shop = run.shop.as_ref().is_some_and(|shop| !self.source.source.starts_with(&format!("{shop}:")));
            let has_changed = run.rows.rows_updated + run.rows.rows_moved > 0;
            return (has_changed && !is_other_shop).then_some(RebuildGap::OtherSource);
        }
        if run.deletions.orders_deleted + run.deletions.orders_marked > 0 {
            return Some(RebuildGap::Deletions);
        }
        let has_loaded = run.records.records_read > run.records.records_out_of_window;
        (kept.is_none() && has_loaded).then_some(RebuildGap::NoRaw)
    }

    /// Whether a run has loaded the source by the profile, on whichever cursor. A replay is of the source of the run that it repeats.
    fn is_of_source(&self, run: &Summary, by_id: &BTreeMap<&str, &Summary>) -> bool {
        let mut run = run;
        while let Some(repeated) = &run.replay_of {
            // The report of a run that is older than all kept records is not looked for.
            let Some(earlier) = by_id.get(repeated.as_str()).copied().filter(|earlier| earlier.run_id < run.run_id) else { return true };
            run = earlier;
        }
        run.identity.as_ref().is_none_or(|identity| identity.source == self.source.source && identity.profile == self.source.profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::UtcMicros;

    fn identity(source: &str) -> SourceIdentity {
        SourceIdentity { source: source.into(), profile: "default".into(), cursor: "created_at".into() }
    }

    /// A committed run of the source `shop` that read a record.
    fn run(commit: u64) -> Summary {
        let mut run = Summary::new(format!("r{commit}"), None, None, UtcMicros::new(0).unwrap());
        run.commit = Some(commit);
        run.identity = Some(identity("shop"));
        run.records.records_read = 1;
        run.raw = Some(RawKept { file: String::new(), bytes: 1, records: 1 });
        run
    }

    fn undo(commit: u64, of: u64) -> Summary {
        Summary { command: CommandName::Undo, undoes: Some(format!("r{of}")), identity: None, ..run(commit) }
    }

    fn chosen(reports: &[Summary], kept: &[u64], gaps: Gaps) -> (Vec<String>, RebuiltFrom) {
        let kept = kept.iter().map(|commit| format!("r{commit}")).collect();
        let input = Choice { source: &identity("shop"), gaps, kept: &kept }.of(reports);
        assert_eq!(input.from.runs, input.runs.len() as u64);
        (input.runs.into_iter().map(|run| run.run_id).collect(), input.from)
    }

    #[test]
    fn runs_count_in_the_order_of_their_commits_and_failed_ones_never() {
        let failed = Summary { commit: None, run_id: "r9".into(), ..run(9) };
        let (runs, from) = chosen(&[run(3), failed, run(1), run(2)], &[1, 2, 3, 9], Gaps::StopAt);
        assert_eq!(runs, ["r1", "r2", "r3"]);
        assert_eq!(from, RebuiltFrom { runs: 3, ..RebuiltFrom::default() });
    }

    #[test]
    fn what_was_kept_before_a_run_that_kept_none_counts_only_if_it_is_asked_for() {
        let mut empty = run(4);
        (empty.records.records_read, empty.records.records_out_of_window) = (2, 2);
        let reports = [run(1), run(2), run(3), empty, run(5)];
        let (runs, from) = chosen(&reports, &[1, 3, 5], Gaps::StopAt);
        assert_eq!(runs, ["r3", "r5"], "a run that loads nothing leaves no gap");
        assert_eq!((from.runs_before_gap, from.gap_run.as_deref(), from.gap, from.runs), (1, Some("r2"), Some(RebuildGap::NoRaw), 2));
        assert_eq!(chosen(&reports, &[1, 3, 5], Gaps::Across).0, ["r1", "r3", "r5"]);
        let (runs, from) = chosen(&reports, &[3], Gaps::StopAt);
        assert_eq!((runs.len(), from.runs_before_gap), (0, 1), "the last run kept none");
    }

    #[test]
    fn undone_runs_are_left_out_unless_the_undo_was_undone() {
        assert_eq!(chosen(&[run(1), run(2), undo(3, 2)], &[1, 2], Gaps::StopAt).0, ["r1"]);
        assert_eq!(chosen(&[run(1), run(2), undo(3, 2), undo(4, 3)], &[1, 2], Gaps::StopAt).0, ["r1", "r2"]);
        let (runs, from) = chosen(&[run(1), run(2), undo(3, 2), undo(4, 3), undo(5, 4)], &[1, 2], Gaps::StopAt);
        assert_eq!((runs, from.runs_undone), (vec!["r1".to_owned()], 1));
        // An undone run that kept none is no gap.
        assert_eq!(chosen(&[run(1), run(2), undo(3, 2)], &[1], Gaps::StopAt).0, ["r1"]);
    }

    #[test]
    fn other_sources_are_left_out_and_replays_are_of_the_source_of_their_run() {
        let other = |commit| Summary { identity: Some(identity("other")), ..run(commit) };
        let replay =
            |commit, of: u64| Summary { identity: None, command: CommandName::Replay, replay_of: Some(format!("r{of}")), ..run(commit) };
        let (runs, from) = chosen(&[run(1), other(2), replay(3, 1), replay(4, 2), other(5)], &[1, 2, 3, 4], Gaps::StopAt);
        assert_eq!((runs, from.runs_of_other_sources), (vec!["r1".to_owned(), "r3".to_owned()], 2));
        assert_eq!(from.runs_before_gap, 0, "a run of another source that changes nothing leaves no gap");
        let mut correction = other(2);
        correction.rows.rows_updated = 1;
        let (runs, from) = chosen(&[run(1), correction.clone(), run(3)], &[1, 3], Gaps::StopAt);
        assert_eq!((runs, from.gap), (vec!["r3".to_owned()], Some(RebuildGap::OtherSource)));
        correction.shop = Some("other".into());
        assert_eq!(chosen(&[run(1), correction], &[1], Gaps::StopAt).0, ["r1"], "the orders of another shop are others");
        let mut deleting = run(2);
        deleting.deletions.orders_marked = 1;
        let (runs, from) = chosen(&[run(1), deleting, run(3)], &[1, 2, 3], Gaps::StopAt);
        assert_eq!((runs, from.gap), (vec!["r2".to_owned(), "r3".to_owned()], Some(RebuildGap::Deletions)));
    }
}
