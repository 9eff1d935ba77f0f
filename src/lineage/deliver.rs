//! The way of events: a file at once, a server from a thread beside the run. Bounded in time whatever the server does.

use std::{
    fs::OpenOptions,
    io::Write,
    path::Path,
    sync::{Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use serde_json::Value;

use crate::{
    cancel::Cancel,
    model::span_text,
    net::{
        bounded_wait::{BoundedWait, Pause, Waited},
        redact,
        retry::RetryPolicy,
    },
    report::alert::{DeliveryClient, JsonPost},
    settings::{LineageReceiver, LineageSettings, NetworkSettings, Secret},
};

static PAUSE: Pause = Pause::new();

/// What the runs of this process could not tell, and how much of that stands in its log.
static UNDELIVERED: Mutex<Undelivered> = Mutex::new(Undelivered { lost: 0, warned: None, told_problems: false });

struct Undelivered {
    /// Events that did not arrive.
    lost: u64,
    /// How many the last warning counts; `None`: there was none.
    warned: Option<u64>,
    /// Whether the values that are not valid were told. All runs of a process have the same.
    told_problems: bool,
}

impl Undelivered {
    /// Counts events. Says whether to warn of them: the first time only, so that a backfill does not warn at each chunk.
    fn add(&mut self, lost: u64) -> bool {
        self.lost += lost;
        let is_first = lost > 0 && self.warned.is_none();
        if is_first {
            self.warned = Some(self.lost);
        }
        is_first
    }

    /// The total of lost events, if it has grown since the last warning.
    fn untold(&mut self) -> Option<u64> {
        let is_told = self.warned.is_none_or(|warned| warned == self.lost);
        self.warned = self.warned.map(|_| self.lost);
        (!is_told).then_some(self.lost)
    }
}

fn undelivered<T>(look: impl FnOnce(&mut Undelivered) -> T) -> T {
    look(&mut UNDELIVERED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Says how many events did not arrive in all, where they are more than the warning counts. For the end of several runs.
pub fn tell_undelivered() {
    if let Some(events_lost) = undelivered(Undelivered::untold) {
        tracing::warn!(events_lost, "OpenLineage: events of all runs that were lost: the runs are as if they had arrived");
    }
}

/// The way of the events of one run.
pub struct LineageSender<'a> {
    settings: &'a LineageSettings,
    /// The file that events are appended to.
    file: Option<&'a Path>,
    server: Option<ServerSender>,
    /// Events that did not arrive.
    lost: u64,
    /// Why not, for the first of each way.
    causes: Vec<String>,
}

impl<'a> LineageSender<'a> {
    /// Opens the way. Connects to nothing yet. `file` is that of the settings, if it may be written.
    pub fn start(settings: &'a LineageSettings, file: Option<&'a Path>, network: &NetworkSettings) -> LineageSender<'a> {
        let mut sender = LineageSender { settings, file, server: None, lost: 0, causes: Vec::new() };
        let server = match &settings.receiver {
            None => return sender,
            Some(_) if PAUSE.is_on() => Err("the server has just failed, and gets nothing for five minutes".to_owned()),
            Some(receiver) => ServerSender::start(receiver, settings.timeout, network),
        };
        match server {
            Ok(server) => sender.server = Some(server),
            Err(cause) => sender.causes.push(cause),
        }
        sender
    }

    /// Sends an event. The run does not wait for the server.
    pub fn send(&mut self, event: &Value) {
        let text = event.to_string();
        let line = redact::json(&text).into_owned();
        if let Some(path) = self.file
            && let Err(error) = append(path, &line)
        {
            self.lost += 1;
            self.blame(format!("{}: {error}", path.display()));
        }
        if let Some(server) = &mut self.server {
            server.send(line);
        } else if self.settings.receiver.is_some() {
            self.lost += 1;
        }
    }

    /// Waits for the server, for the time of one event at most. What is lost is one warning in a process; after it, it is counted.
    pub fn finish(mut self, run_id: &str, cancel: &Cancel) {
        if let Some(server) = self.server.take() {
            let missed = server.finish(self.settings.timeout, cancel);
            if missed.events > 0 {
                PAUSE.begin();
            }
            self.lost += missed.events;
            if let Some(cause) = missed.cause {
                self.blame(cause);
            }
        }
        let (warns, tells_problems) = undelivered(|all| (all.add(self.lost), !std::mem::replace(&mut all.told_problems, true)));
        for problem in self.settings.problems.iter().filter(|_| tells_problems) {
            tracing::warn!(run_id, "OpenLineage: {problem}");
        }
        let (events_lost, cause) = (self.lost, self.causes.join("; "));
        if warns {
            tracing::warn!(run_id, events_lost, cause, "OpenLineage events did not arrive: the run is as if they had");
        } else if events_lost > 0 {
            tracing::debug!(run_id, events_lost, cause, "OpenLineage events did not arrive, as before");
        }
    }

    fn blame(&mut self, cause: String) {
        if !self.causes.contains(&cause) {
            self.causes.push(cause);
        }
    }
}

/// Adds a line to a file, in one write, so that several runs may do it at once.
fn append(path: &Path, line: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    file.write_all(format!("{line}\n").as_bytes())
}

/// Events that a server did not get.
struct Missed {
    events: u64,
    cause: Option<String>,
}

/// The thread that posts events, one after the other.
struct ServerSender {
    events: mpsc::Sender<String>,
    results: mpsc::Receiver<Result<(), String>>,
    sent: u64,
}

impl ServerSender {
    fn start(receiver: &LineageReceiver, timeout: Duration, network: &NetworkSettings) -> Result<ServerSender, String> {
        let (events, to_send) = mpsc::channel::<String>();
        let (tell, results) = mpsc::channel();
        let (receiver, network) = (receiver.clone(), network.clone());
        let work = move || {
            let client = DeliveryClient::open(timeout, &network);
            for event in to_send {
                let result = client.as_ref().map_err(String::clone).and_then(|client| post(client, &receiver, timeout, &event));
                // The run may have stopped waiting.
                if tell.send(result).is_err() {
                    return;
                }
            }
        };
        thread::Builder::new().name("lineage".into()).spawn(work).map_err(|error| format!("no thread can be started: {error}"))?;
        Ok(ServerSender { events, results, sent: 0 })
    }

    fn send(&mut self, event: String) {
        self.sent += 1;
        // A thread that has died tells no result: the event counts as missed.
        let _ = self.events.send(event);
    }

    fn finish(self, timeout: Duration, cancel: &Cancel) -> Missed {
        let ServerSender { events, results, sent } = self;
        drop(events);
        let wait = BoundedWait::begin(timeout, cancel);
        let (mut arrived, mut cause) = (0, None);
        loop {
            match wait.next(&results) {
                Waited::Told(Ok(())) => arrived += 1,
                Waited::Told(Err(error)) => _ = cause.get_or_insert(error),
                Waited::Ended => break,
                Waited::TimedOut => {
                    cause.get_or_insert_with(|| format!("no answer within {}", span_text(wait.limit())));
                    break;
                }
            }
        }
        Missed { events: sent.saturating_sub(arrived), cause }
    }
}

/// Posts an event. An error names the server, without credentials, and the cause.
fn post(client: &DeliveryClient, receiver: &LineageReceiver, timeout: Duration, event: &str) -> Result<(), String> {
    let first = Duration::from_millis(200);
    let policy = RetryPolicy { attempts: 3, first, cap: Duration::from_secs(1), retry_after_cap: first, budget: timeout };
    let token = receiver.key.as_ref().map(Secret::expose);
    let post = JsonPost { url: &receiver.url, body: event.as_bytes(), token, policy };
    let sent = client.runtime.block_on(post.send(&client.client));
    sent.map_err(|error| format!("{}: {error}", redact::url(&receiver.url)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_warns_once_and_tells_the_rest_at_its_end() {
        let mut all = Undelivered { lost: 0, warned: None, told_problems: false };
        assert_eq!((all.add(0), all.untold()), (false, None), "nothing is lost");
        assert!(all.add(2), "the first time");
        assert_eq!(all.untold(), None, "the warning has the number");
        assert_eq!([all.add(2), all.add(0), all.add(3)], [false; 3]);
        assert_eq!((all.untold(), all.untold()), (Some(7), None), "once");
    }
}
