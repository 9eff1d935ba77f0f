//! One attempt to merge, check and publish, and what the next one begins with where another run was committed first.
//!
//! How often a run tries is not decided here, and each of the three steps is in a module of its own.

use super::{Job, opening::Base};
use crate::{
    check::{CheckError, CustomCheck},
    join::Enricher,
    layer::{LayerError, OpenedLayer, StoredState},
    run::{
        RunError,
        extract::Extracted,
        members::{Dimensions, LookUpDigests, MemberReader},
        merge_all::EarlierAttempt,
        observer::StageName,
        open::settled_layer,
        publish::RunCoverage,
        staged_run::{CheckedRun, StagedDimensions, StagedRun, StagingContext},
    },
    store::{Staging, StoreError},
};

/// What another attempt begins with, after another run was committed first.
pub(super) struct Rebase {
    pub(super) earlier: Option<EarlierAttempt>,
    /// Joins the lines again, if what facts carry of the dimensions has changed.
    pub(super) enricher: Option<Enricher>,
    pub(super) dimensions_are_new: bool,
}

/// One attempt to merge, check and publish.
pub(super) struct Attempt {
    pub(super) base: Base,
    pub(super) dimensions: Dimensions,
    pub(super) rebase: Rebase,
}

/// What an attempt works with.
pub(super) struct Begun<'a> {
    pub(super) attempt: Attempt,
    pub(super) extracted: &'a mut Extracted,
    pub(super) staging: &'a mut Staging,
    pub(super) custom: &'a [CustomCheck],
}

/// An attempt that another run was faster than.
pub(super) struct Lost {
    /// What it has merged, if it came that far.
    pub(super) run: Option<CheckedRun>,
    pub(super) dimensions: Dimensions,
    /// The layer that it began with.
    pub(super) layer: OpenedLayer,
    pub(super) joined: Joined,
}

/// With which users and products the lines of an attempt were joined.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Joined {
    /// With those that were read when the lines were.
    AsExtracted,
    /// With those that another run has changed since.
    Again,
}

/// How an attempt has ended.
pub(super) enum Ended {
    Published,
    /// Another run was committed first.
    Lost {
        run: Box<CheckedRun>,
        dimensions: Box<Dimensions>,
    },
}

/// An attempt that failed. Its dimensions are those of the next one.
pub(super) struct Failed {
    pub(super) error: RunError,
    pub(super) dimensions: Box<Dimensions>,
}

/// Whether an error may come of files that another run has replaced while they were read.
pub(super) fn is_of_the_layer(error: &RunError) -> bool {
    match error {
        RunError::ChecksFailed { published, .. } => !published,
        RunError::Layer(error) => matches!(error, LayerError::Changed { .. } | LayerError::Partition { .. }),
        RunError::Check(CheckError::Layer { .. }) => true,
        _ => false,
    }
}

impl Job<'_> {
    /// Merges, checks and publishes once.
    pub(super) fn attempt(&mut self, begun: Begun<'_>, coverage: RunCoverage) -> Result<Ended, Failed> {
        let Begun { attempt: Attempt { base, dimensions, rebase }, extracted, staging, custom } = begun;
        let publish = || -> Result<Option<CheckedRun>, RunError> {
            let shapes = self.watch_shape(&base.opened, extracted)?;
            self.enter(StageName::Merge);
            let (before, sequence) = (base.opened.clone(), base.opened.number() + 1);
            let merged = self.merge(base, extracted, staging, rebase.earlier, rebase.enricher.as_ref())?;
            self.stage_lineage(&merged, extracted, staging, sequence)?;
            let staged_dimensions = StagedDimensions { dimensions: &dimensions, are_new: rebase.dimensions_are_new };
            let staged = merged.stage(self.staging_context(), staging, &staged_dimensions, extracted)?;
            self.count_uncovered(&staged);
            self.enter(StageName::Check);
            let cancel = self.request.cancel;
            let context = StagingContext { settings: self.settings, output: &self.output, summary: &mut self.summary };
            let mut checked = staged.check(&mut self.engine, custom, context, staging, cancel)?;
            checked.staged.next.shapes = shapes;
            self.publish(checked, &before, staging, coverage)
        };
        match publish() {
            Ok(None) => Ok(Ended::Published),
            Ok(Some(run)) => Ok(Ended::Lost { run: Box::new(run), dimensions: Box::new(dimensions) }),
            Err(error) => Err(Failed { error, dimensions: Box::new(dimensions) }),
        }
    }

    /// Prepares another attempt, on the layer that other runs have committed meanwhile.
    pub(super) fn rebase(&mut self, lost: Lost, staging: &mut Staging) -> Result<Attempt, RunError> {
        let Lost { run: lost, dimensions, layer: before, joined } = lost;
        let opened = settled_layer(&self.output)?;
        if opened.state.erased != before.state.erased {
            return Err(self.overtaken_by_erasure(staging).into());
        }
        staging.begin_attempt();
        let base = self.open_catalog(opened, &staging.scratch(), StoredState::Use)?;
        let earlier = lost.map(|lost| {
            let StagedRun { catalog, merged, .. } = lost.staged;
            let has_violations = self.summary.checks.iter().any(|result| result.violations > 0);
            EarlierAttempt { merged, stored: catalog.state.partitions, is_void: false, has_violations }
        });
        let was_checked = earlier.is_some();
        let mut earlier = earlier.unwrap_or_else(|| EarlierAttempt { is_void: true, ..EarlierAttempt::default() });
        if joined == Joined::AsExtracted && before.state.dimensions == base.catalog.state.dimensions {
            let rebase = Rebase { earlier: Some(earlier), enricher: None, dimensions_are_new: !was_checked };
            return Ok(Attempt { base, dimensions, rebase });
        }
        let looked_up = LookUpDigests::of(&dimensions, &self.settings.enrich)?;
        let (stored, erased) = (&base.catalog.state.dimensions, &base.catalog.state.erased);
        let reader = MemberReader { settings: self.settings, output: &self.output, access: self.access(), stored, erased };
        let dimensions = reader.rebased(dimensions)?;
        // What facts carry of users and products may be another: then all lines are joined again.
        let says_other = LookUpDigests::of(&dimensions, &self.settings.enrich)? != looked_up;
        earlier.is_void = earlier.is_void || says_other;
        let joins_again = says_other || joined == Joined::Again;
        let enricher = joins_again.then(|| Enricher::new(&dimensions.users, &dimensions.products, &self.settings.enrich)).transpose()?;
        // Members of both runs, merged by the same rules as each: there is nothing new in it that a check could find.
        let dimensions_are_new = earlier.is_void;
        Ok(Attempt { base, dimensions, rebase: Rebase { earlier: Some(earlier), enricher, dimensions_are_new } })
    }

    /// Ends a run whose lines were read before an erasure, and may name who was erased. So may all that it has put, and
    /// what its checks found.
    fn overtaken_by_erasure(&mut self, staging: &mut Staging) -> StoreError {
        for check in &mut self.summary.checks {
            check.sample.clear();
            (check.rows_kept, check.file) = (None, None);
        }
        let detail = match staging.remove_placed() {
            Ok(()) => "a user was erased while this run was at work; nothing was changed: run it again".to_owned(),
            Err(error) => format!(
                "a user was erased while this run was at work; nothing was changed, but what the run had put may name the user, and could \
                 not be removed: {error}. Erase the user again, then run it again"
            ),
        };
        StoreError::Refused { location: self.output.location(), detail }
    }

    fn staging_context(&mut self) -> StagingContext<'_> {
        StagingContext { settings: self.settings, output: &self.output, summary: &mut self.summary }
    }
}
