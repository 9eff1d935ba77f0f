//! The memory of pages that are read one after the other: a page's buffer is used again once nobody has the page any more. Memory
//! that is asked for anew is cleared by the kernel first, and a source has many pages.
//!
//! Does not know what the bytes are.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

/// Buffers whose pages were dropped. There are as many as there were pages at once.
type Free = Arc<Mutex<Vec<Vec<u8>>>>;

/// Lends buffers to pages.
#[derive(Default)]
pub(super) struct PageBuffers {
    free: Free,
    /// The capacity of a new buffer.
    capacity: usize,
}

/// The bytes of a page. Its buffer is free again when it is dropped.
struct Lent {
    bytes: Vec<u8>,
    free: Free,
}

impl PageBuffers {
    /// Buffers that have this capacity from the beginning.
    pub(super) fn of_capacity(capacity: usize) -> PageBuffers {
        PageBuffers { capacity, ..PageBuffers::default() }
    }

    /// An empty buffer; one of an earlier page, if there is any.
    pub(super) fn take(&self) -> Vec<u8> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        free.unwrap_or_else(|| Vec::with_capacity(self.capacity))
    }

    /// The bytes of a page, in a buffer that is lent to it.
    pub(super) fn lend(&self, bytes: Vec<u8>) -> Bytes {
        Bytes::from_owner(Lent { bytes, free: Arc::clone(&self.free) })
    }
}

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let mut buffer = std::mem::take(&mut self.bytes);
        buffer.clear();
        self.free.lock().unwrap_or_else(PoisonError::into_inner).push(buffer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_once_nobody_has_its_page() {
        let buffers = PageBuffers::default();
        let lend = |text: &[u8]| {
            let mut buffer = buffers.take();
            assert!(buffer.is_empty());
            buffer.extend_from_slice(text);
            let place = buffer.as_ptr();
            (buffers.lend(buffer), place)
        };
        let (page, first) = lend(b"one");
        let part = page.slice(1..);
        drop(page);
        let (other, second) = lend(b"two");
        assert_ne!(first, second, "a part of the first page is still there");
        assert_eq!((&part[..], &other[..]), (&b"ne"[..], &b"two"[..]));
        drop(part);
        let (again, third) = lend(b"six");
        assert_eq!((third, &again[..], &other[..]), (first, &b"six"[..], &b"two"[..]));
    }
}
