//! A pool of buffers that connections share.
//!
//! Ten thousand idle connections with buffers of their own would hold a gigabyte for nothing. So a
//! connection takes a buffer when it has something to do and gives it back when it waits with
//! nothing in it. Each thread has a pool of its own, so there is no lock. The buffer that came back
//! last goes out first: it is still in the processor's cache.

use std::cell::RefCell;

use bytes::BytesMut;

/// Capacity of a pooled buffer, in bytes: a batch of requests or replies of ordinary size.
pub const CAPACITY: usize = 16 << 10;

/// Buffers kept per thread. More connections than that are rarely busy on one thread at the same
/// instant.
const KEPT: usize = 64;

thread_local! {
    static POOL: RefCell<Vec<BytesMut>> = const { RefCell::new(Vec::new()) };
}

/// An empty buffer of at least [`CAPACITY`] bytes.
#[must_use]
pub fn take() -> BytesMut {
    POOL.with_borrow_mut(Vec::pop).unwrap_or_else(|| BytesMut::with_capacity(CAPACITY))
}

/// Gives a buffer back. One that has grown, or whose memory an argument still shares, is dropped
/// instead.
pub fn give(mut buffer: BytesMut) {
    buffer.clear();
    // Fails if somebody still holds a part of it.
    if !buffer.try_reclaim(CAPACITY) || buffer.capacity() > 2 * CAPACITY {
        return;
    }
    POOL.with_borrow_mut(|pool| {
        if pool.len() < KEPT {
            pool.push(buffer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_comes_back_unless_it_is_shared_or_has_grown() {
        let mut buffer = take();
        buffer.extend_from_slice(b"abc");
        let address = buffer.as_ptr();
        give(buffer);
        let again = take();
        assert_eq!((again.as_ptr(), again.len()), (address, 0));

        let mut shared = again;
        shared.extend_from_slice(b"abc");
        let part = shared.split_to(2).freeze();
        give(shared);
        let other = take();
        assert!(other.capacity() >= CAPACITY);
        assert_ne!(other.as_ptr(), part.as_ptr());

        give(BytesMut::with_capacity(1 << 20));
        assert!(take().capacity() < 1 << 20);
    }
}
