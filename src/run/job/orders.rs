//! The orders of a run: where they are read, of which window, and whether their records are kept. Reads none of them.

use super::{Job, request::OrdersFrom};
use crate::{
    layer::OpenedLayer,
    model::Window,
    report::CommandName,
    run::{
        RunError, ledger,
        publish::RunCoverage,
        raw::{RawHeader, RawInput, RawWriter},
        replay::{self, UnwrappedQuarantine},
        shops,
        window::{AskedWindow, gap_before},
    },
    settings::{Location, SettingsError, Source, When},
    store::{Key, Staging, places},
};

/// The orders of a run.
pub(super) struct RunOrders {
    /// Where they are, and how they are read.
    pub(super) source: Source,
    /// What is read in place of the source, for a rebuild.
    pub(super) raw: Option<RawInput>,
    /// Records of a quarantine that are withheld, since their user was erased.
    pub(super) withheld: u64,
}

impl Job<'_> {
    /// The orders: of the configured source, of the quarantine of the run that is replayed, or of what runs have kept.
    pub(super) fn orders(&self, staging: &Staging) -> Result<RunOrders, RunError> {
        let configured = self.settings.orders.clone();
        match self.request.orders {
            OrdersFrom::Source => Ok(RunOrders { source: configured.ok_or(SettingsError::NoOrders)?, raw: None, withheld: 0 }),
            OrdersFrom::Quarantine(of) => {
                replay::warn_if_overtaken(&self.output, of)?;
                let UnwrappedQuarantine { file, withheld } = replay::unwrap_quarantine(&self.output, of.run_id, &staging.scratch())?;
                let location = Location::Files(file.display().to_string());
                let source = match configured {
                    Some(orders) => Source { location, ..orders },
                    None => location.into(),
                };
                Ok(RunOrders { source, raw: None, withheld })
            }
            OrdersFrom::Raw(gaps) => {
                let orders = configured.ok_or(SettingsError::NoOrders)?;
                let raw = RawInput::choose(&self.output, &ledger::identity(&orders, self.settings), gaps)?;
                if raw.uncommitted > 0 {
                    tracing::warn!(runs = raw.uncommitted, "records in raw/ are left out: no report says that their runs were committed");
                }
                let location = Location::Files(self.output.location_of(&Key::from(places::RAW)));
                Ok(RunOrders { source: Source { location, ..orders }, raw: Some(raw), withheld: 0 })
            }
        }
    }

    /// Keeps the records of the run, if they are to be kept. Those of a rebuild are kept already.
    pub(super) fn raw_writer(&self, staging: &Staging) -> Option<RawWriter> {
        let is_kept = self.settings.raw.is_kept && !self.settings.dry_run && !matches!(self.request.orders, OrdersFrom::Raw(_));
        let identity = || self.settings.orders.as_ref().map(|orders| ledger::identity(orders, self.settings));
        is_kept.then(|| {
            let header = RawHeader::of(&self.summary, identity());
            RawWriter::new(staging, &self.summary.run_id, header, self.settings.quarantine_mode)
        })
    }

    /// The window that was asked for. Says what it leaves uncovered.
    pub(super) fn resolve_window(&mut self, orders: &Source, opened: &OpenedLayer) -> Result<RunCoverage, RunError> {
        let ledger = ledger::read(&self.output, opened)?;
        let identity = ledger::identity(orders, self.settings);
        let (settings, started_at) = (self.settings, self.summary.started_at);
        let asked = AskedWindow { since: self.request.since, until: self.request.until, lookback: settings.lookback };
        shops::verify(settings, orders, &ledger, opened)?;
        let coverage = ledger.of(&identity);
        let window = asked.resolve(coverage, started_at)?;
        (self.summary.since, self.summary.until) = (window.since, window.until);
        self.summary.rules = ledger::rules(settings, orders);
        if self.request.since == Some(When::Last) && coverage.is_none() {
            tracing::info!("no run has loaded anything of this source yet: everything is loaded");
        }
        if let Some(gap) = gap_before(window, coverage).filter(|_| self.request.command == CommandName::Run) {
            let fill = settings.loading_command_line("backfill --gaps");
            tracing::warn!(
                gap_since = %gap.start,
                gap_until = %gap.end,
                "this run begins after what has been loaded and leaves a gap: `{fill}` fills it, and `--since last` returns to it"
            );
        }
        self.say_what_is_shown(orders, window);
        let adds_to_coverage = self.request.orders == OrdersFrom::Source && self.request.command != CommandName::Demo;
        self.summary.is_known_source = ledger.sources.iter().any(|known| known.identity.source == identity.source);
        self.summary.identity = adds_to_coverage.then_some(identity);
        Ok(RunCoverage { window, restart: self.request.restart })
    }

    /// Notes where what the source shows of the window begins, and says so if that is later than the window.
    fn say_what_is_shown(&mut self, orders: &Source, window: Window) {
        if self.request.orders != OrdersFrom::Source || !matches!(orders.location, Location::Http(_)) {
            return;
        }
        let begins = orders.profile.http.filter.begins(window.since, self.summary.started_at);
        let Some(shown_since) = begins.filter(|begins| Some(*begins) > window.since) else { return };
        self.summary.shown_since = Some(shown_since);
        tracing::warn!(
            %shown_since,
            "the source shows nothing older than this (`orders.filter` of its profile): earlier orders are not loaded, and not covered"
        );
    }
}
