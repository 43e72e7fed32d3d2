//! How many Regions of a round work at once, by the size of the replies that may come.
//!
//! A short pipeline can ask for large replies: each `SPOP key 1000000` is answered with what the
//! key held. An entry stops when its commands have answered 32 MiB, but a round has an entry in
//! every Region, and all replies are held until they can be handed on in the client's order. So a
//! round begins with as many Regions as have room for their replies, and the others follow as soon
//! as it is known that the first ones needed less:
//!
//! ```text
//! held: replies that wait for an earlier one     the size that they have
//! in flight: commands that answer stored data    32 MiB for each Region
//! in flight: commands that answer OK or a number next to nothing
//!                                          sum   at most client-output-buffer-limit
//! ```
//!
//! That is the bound for one connection, whatever the number of Regions, as for its unsent replies.
//! The first Region of a round goes in any case, so every round makes progress. The last command of
//! each entry may answer more than was left for it, by as much as one command may gather
//! ([`Bounds::command_bytes`](crate::machine::Bounds::command_bytes)). A Region for which there was
//! no room goes in the next round, when the replies before it have been handed on.

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// How many bytes of replies a round may hold, and how many it holds.
#[derive(Clone, Copy, Debug)]
pub struct ReplyRoom {
    /// The most bytes that it may hold.
    pub limit: u64,
    /// The bytes that it holds.
    pub held: u64,
}

/// A part of a round: the commands for one Region.
pub trait RoundPart {
    /// What comes of it.
    type Outcome;

    /// The most bytes that its replies may take.
    fn may_answer(&self) -> u64;

    /// The bytes that its replies have taken.
    fn answered(outcome: &Self::Outcome) -> u64;

    /// Runs it.
    fn run(self) -> impl Future<Output = Self::Outcome>;
}

/// Runs the parts at the same time, as far as there is room for their replies, and at least the
/// first one. Returns what has come of them, in any order, and the parts that have not begun.
pub async fn run<P: RoundPart>(parts: Vec<P>, room: ReplyRoom) -> (Vec<P::Outcome>, Vec<P>) {
    let ReplyRoom { limit, mut held } = room;
    let mut reserved = 0;
    let mut in_flight = FuturesUnordered::new();
    let mut outcomes = Vec::with_capacity(parts.len());
    let mut waiting = parts;
    loop {
        // Begin the parts for which there is room. A part that asks for less may overtake one that
        // waits: it goes to another Region.
        let mut left = Vec::new();
        for part in waiting {
            let bytes = part.may_answer();
            let is_first = outcomes.is_empty() && in_flight.is_empty();
            if is_first || bytes == 0 || held + reserved + bytes <= limit {
                reserved += bytes;
                in_flight.push(async move { (bytes, part.run().await) });
            } else {
                left.push(part);
            }
        }
        waiting = left;
        // Wait for one to end: it gives back the room that it has not used.
        let Some((bytes, outcome)) = in_flight.next().await else {
            return (outcomes, waiting);
        };
        reserved -= bytes;
        held += P::answered(&outcome);
        outcomes.push(outcome);
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;

    use tokio::sync::oneshot;

    use super::*;

    /// What all parts of a test share.
    #[derive(Default)]
    struct Watch {
        /// The parts that have begun, and how to end them.
        begun: RefCell<Vec<(u32, oneshot::Sender<u64>)>>,
        most: Cell<usize>,
    }

    /// A part that ends when the test says with how many bytes.
    struct Fake {
        name: u32,
        may_answer: u64,
        watch: Rc<Watch>,
    }

    impl RoundPart for Fake {
        type Outcome = u64;

        fn may_answer(&self) -> u64 {
            self.may_answer
        }

        fn answered(outcome: &u64) -> u64 {
            *outcome
        }

        async fn run(self) -> u64 {
            let (end, wait) = oneshot::channel();
            self.watch.begun.borrow_mut().push((self.name, end));
            wait.await.unwrap()
        }
    }

    impl Watch {
        fn names(&self) -> Vec<u32> {
            self.begun.borrow().iter().map(|(name, _)| *name).collect()
        }

        /// Ends the oldest part.
        fn end(&self, bytes: u64) {
            self.most.set(self.most.get().max(self.begun.borrow().len()));
            let (_, end) = self.begun.borrow_mut().remove(0);
            end.send(bytes).unwrap();
        }
    }

    fn parts(watch: &Rc<Watch>, sizes: &[u64]) -> Vec<Fake> {
        let part =
            |(name, bytes): (u32, &u64)| Fake { name, may_answer: *bytes, watch: watch.clone() };
        (0..).zip(sizes).map(part).collect()
    }

    /// Runs parts of these sizes; each answers with so many bytes. Returns how many were in flight
    /// at once, and which were left.
    async fn ran(sizes: &[u64], room: ReplyRoom, answer: u64) -> (usize, Vec<u32>) {
        let watch = Rc::new(Watch::default());
        let ending = async {
            loop {
                tokio::task::yield_now().await;
                if watch.names().is_empty() {
                    std::future::pending::<()>().await;
                }
                watch.end(answer);
            }
        };
        let run = run(parts(&watch, sizes), room);
        let (_, left) = tokio::select! {
            biased;
            outcome = run => outcome,
            () = ending => unreachable!("it never ends"),
        };
        (watch.most.get(), left.iter().map(|part| part.name).collect())
    }

    #[tokio::test]
    async fn parts_without_large_replies_all_go_at_once() {
        let room = ReplyRoom { limit: 10, held: 10 };
        assert_eq!(ran(&[0; 100], room, 0).await, (100, vec![]));
    }

    #[tokio::test]
    async fn large_replies_have_room_or_wait() {
        let room = ReplyRoom { limit: 10, held: 0 };
        assert_eq!(ran(&[4; 100], room, 0).await, (2, vec![]), "small in the end: all go");
        assert_eq!(ran(&[4; 5], room, 4).await, (2, vec![2, 3, 4]), "no room is left");
        assert_eq!(ran(&[4; 5], room, 2).await, (2, vec![4]));
    }

    #[tokio::test]
    async fn replies_that_are_held_take_room_and_the_first_part_goes_all_the_same() {
        let full = ReplyRoom { limit: 10, held: 10 };
        assert_eq!(ran(&[4, 4, 0, 4], full, 0).await, (2, vec![1, 3]));
        let larger = ReplyRoom { limit: 1, held: 0 };
        assert_eq!(ran(&[4, 4], larger, 4).await, (1, vec![1]));
    }
}
