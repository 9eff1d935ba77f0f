//! The way of pages from the thread that reads a source to those that use them: bounded, and in the order of the source.
//!
//! Knows what neither a page nor a record means.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use tokio::sync::mpsc::{OwnedPermit, Receiver, Sender, channel, error::SendError};

use crate::{
    normalize::Sampling,
    source::{Page, PageSink},
};

/// Pages that wait for a thread: enough that neither side waits for the other's hiccups.
pub(super) const PAGES_WAITING: usize = 4;

/// A page on its way to a thread that normalizes it.
pub(super) struct NumberedPage {
    /// Its place in the source, from 0.
    pub(super) number: u64,
    /// Which of its records are observed.
    pub(super) sampling: Sampling,
    pub(super) page: Page,
}

/// What waits for room in the channel of pages.
type WaitingForRoom = Pin<Box<dyn Future<Output = Result<OwnedPermit<NumberedPage>, SendError<()>>> + Send>>;

/// Room in the channel, or the wait for it.
enum Room {
    Waiting(WaitingForRoom),
    Kept(OwnedPermit<NumberedPage>),
    /// Nobody takes pages any more.
    Closed,
}

/// The way of pages to the threads that normalize them.
pub(super) struct PageChannel {
    pages: Sender<NumberedPage>,
    room: Option<Room>,
    /// The number of the next page.
    number: u64,
    /// Which records of the next page are observed.
    sampling: Sampling,
}

/// A channel of pages; `sampling` says which of their records are observed.
pub(super) fn page_channel(sampling: Sampling) -> (PageChannel, Receiver<NumberedPage>) {
    let (pages, taken) = channel(PAGES_WAITING);
    (PageChannel { pages, room: None, number: 0, sampling }, taken)
}

impl PageChannel {
    /// The page with its number. Counts it and its records.
    fn numbered(&mut self, page: Page) -> NumberedPage {
        let numbered = NumberedPage { number: self.number, sampling: self.sampling, page };
        self.number += 1;
        if let Sampling::On { before } = &mut self.sampling {
            *before += numbered.page.len_at_most();
        }
        numbered
    }
}

impl PageSink for PageChannel {
    fn page(&mut self, page: Page) -> bool {
        let numbered = self.numbered(page);
        match self.room.take() {
            Some(Room::Kept(room)) => {
                room.send(numbered);
                true
            }
            Some(Room::Closed) => false,
            // A source that has nothing in flight simply waits.
            _ => self.pages.blocking_send(numbered).is_ok(),
        }
    }

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let mut waiting = match self.room.take() {
            Some(Room::Waiting(waiting)) => waiting,
            Some(kept) => {
                self.room = Some(kept);
                return Poll::Ready(());
            }
            None => Box::pin(self.pages.clone().reserve_owned()),
        };
        match waiting.as_mut().poll(context) {
            Poll::Ready(Ok(room)) => self.room = Some(Room::Kept(room)),
            Poll::Ready(Err(_)) => self.room = Some(Room::Closed),
            Poll::Pending => {
                self.room = Some(Room::Waiting(waiting));
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    fn takes_all(&self) -> bool {
        true
    }
}
