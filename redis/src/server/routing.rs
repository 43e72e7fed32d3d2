//! Which Region serves a command, and what to say when it is not served here.
//!
//! The keys of a command are found by its declaration, their slots by their bytes, the Region by
//! the slot:
//!
//! | situation                                     | answer                                                       |
//! | --------------------------------------------- | ------------------------------------------------------------ |
//! | all keys in one Region that is led here       | it runs                                                      |
//! | `--cluster-mode`, keys of different slots     | `CROSSSLOT Keys in request don't hash to the same slot`      |
//! | keys in different Regions                     | the same                                                     |
//! | no Region for the slot                        | `CLUSTERDOWN Hash slot not served`                           |
//! | another store leads the Region                | `MOVED slot address`, or CLUSTERDOWN while nobody knows it   |
//! | it leads, but may not serve yet               | `TRYAGAIN`: nothing happened, ask again                      |
//! | too much waits                                | `BUSY`: nothing happened                                     |
//! | the disk is full                              | `OOM`: nothing happened                                      |
//! | the outcome of a write is unknown             | `ERR outcome unknown`: it may have happened                  |
//!
//! A standalone server has one Region with all slots: nothing is hashed there, and keys may be
//! mixed freely.
//!
//! Commands without keys (DBSIZE, SCAN, FLUSHALL) go to the Region of slot 0, which in a standalone
//! server is the only one.

use std::sync::Arc;

use neokv_encoding::slot::{SlotRange, slot_of};
use neokv_raftstore::{ProposeError, ReadError, Region, Store};
use neokv_resp::Reply;

use super::Context;
use super::context::Redirect;
use crate::command::{Args, Command};
use crate::machine::RedisMachine;

const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
const NOT_SERVED: &str = "CLUSTERDOWN Hash slot not served";

/// Finds Regions for one connection. It remembers the last one, but only for a batch of commands:
/// Regions change.
#[derive(Default)]
pub struct Router {
    last: Option<Destination>,
}

/// A Region and what was asked of it.
#[derive(Clone)]
pub struct Destination {
    /// The Region.
    pub region: Arc<Region<RedisMachine>>,
    /// Its slots when it was looked up.
    pub slots: SlotRange,
    /// The slot of the command, for MOVED.
    pub slot: u16,
}

impl Router {
    /// Forgets the last Region, at the end of a batch.
    pub fn forget(&mut self) {
        self.last = None;
    }

    /// The Region that serves `command` with these arguments.
    ///
    /// # Errors
    /// CROSSSLOT or CLUSTERDOWN, as a reply.
    pub fn route(
        &mut self,
        context: &Context,
        command: &Command,
        args: &Args,
    ) -> Result<&Destination, Reply> {
        // A standalone server has one Region for everything: no key needs to be looked at.
        let everywhere = !context.cluster_mode
            && self.last.as_ref().is_some_and(|last| last.slots == SlotRange::ALL);
        if !everywhere {
            let slot = command.keys.keys(args).next().map_or(0, |key| slot_of(key));
            let known = self.last.as_ref().is_some_and(|last| last.slots.contains(slot));
            if !known {
                self.last = Some(find(&context.store, slot)?);
            }
            if let Some(last) = &mut self.last {
                last.slot = slot;
                same_place(context.cluster_mode, last, command, args)?;
            }
        }
        self.last.as_ref().ok_or_else(|| Reply::error(NOT_SERVED))
    }
}

fn find(store: &Store<RedisMachine>, slot: u16) -> Result<Destination, Reply> {
    let region = store.region_of_slot(slot).ok_or_else(|| Reply::error(NOT_SERVED))?;
    let slots = region.descriptor().slots;
    Ok(Destination { region, slots, slot })
}

/// Whether all keys are where the first one is.
fn same_place(
    cluster_mode: bool,
    place: &Destination,
    command: &Command,
    args: &Args,
) -> Result<(), Reply> {
    if !cluster_mode && place.slots == SlotRange::ALL {
        return Ok(());
    }
    let fits =
        |slot: u16| if cluster_mode { slot == place.slot } else { place.slots.contains(slot) };
    if command.keys.keys(args).skip(1).all(|key| fits(slot_of(key))) {
        Ok(())
    } else {
        Err(Reply::error(CROSSSLOT))
    }
}

/// The reply for a read that is not possible here and now.
#[must_use]
pub fn read_refused(redirect: &Redirect, slot: u16, error: &ReadError) -> Reply {
    match error {
        ReadError::NotLeader { leader, .. } => moved(redirect, slot, *leader),
        ReadError::NeedsQuorum { .. } | ReadError::NotReady { .. } => {
            Reply::error(format!("TRYAGAIN {error}"))
        }
        other => Reply::error(format!("CLUSTERDOWN {other}")),
    }
}

/// The reply for every command of a submission that did not come through.
#[must_use]
pub fn write_refused(redirect: &Redirect, slot: u16, error: &ProposeError) -> Reply {
    match error {
        ProposeError::NotLeader { leader, .. } => moved(redirect, slot, *leader),
        ProposeError::NotReady { .. } => Reply::error(format!("TRYAGAIN {error}")),
        ProposeError::Busy { .. } => Reply::error(format!("BUSY {error}")),
        ProposeError::NoSpace => Reply::error(format!("OOM {error}")),
        ProposeError::Stopped { .. } => Reply::error(format!("CLUSTERDOWN {error}")),
        // Also the unknown outcome, whose text says that the write may have taken effect.
        other => Reply::error(format!("ERR {other}")),
    }
}

fn moved(redirect: &Redirect, slot: u16, leader: Option<u64>) -> Reply {
    match leader.and_then(redirect) {
        Some(address) => Reply::error(format!("MOVED {slot} {address}")),
        None => Reply::error(NOT_SERVED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(reply: Reply) -> String {
        let Reply::Error(text) = reply else { panic!("expected an error, got {reply:?}") };
        text.into_owned()
    }

    #[test]
    fn every_refusal_has_the_code_that_clients_act_on() {
        let redirect: Redirect = Box::new(|store| (store == 7).then(|| "10.0.0.7:6379".to_owned()));
        let write = |error: ProposeError| text(write_refused(&redirect, 42, &error));
        let read = |error: ReadError| text(read_refused(&redirect, 42, &error));
        assert_eq!(
            write(ProposeError::NotLeader { region: 1, leader: Some(7) }),
            "MOVED 42 10.0.0.7:6379"
        );
        assert_eq!(
            read(ReadError::NotLeader { region: 1, leader: Some(7) }),
            "MOVED 42 10.0.0.7:6379"
        );
        assert_eq!(write(ProposeError::NotLeader { region: 1, leader: Some(8) }), NOT_SERVED);
        assert_eq!(read(ReadError::NotLeader { region: 1, leader: None }), NOT_SERVED);
        let code = |text: String| text.split(' ').next().unwrap().to_owned();
        assert_eq!(code(write(ProposeError::NotReady { region: 1, why: "it starts" })), "TRYAGAIN");
        assert_eq!(code(read(ReadError::NotReady { region: 1, why: "it starts" })), "TRYAGAIN");
        assert_eq!(code(write(ProposeError::Busy { region: 1, waiting: 5 })), "BUSY");
        assert_eq!(code(write(ProposeError::NoSpace)), "OOM");
        assert_eq!(code(write(ProposeError::TooBig { bytes: 2, limit: 1 })), "ERR");
        assert_eq!(
            code(write(ProposeError::Stopped { region: 1, why: "damage".into() })),
            "CLUSTERDOWN"
        );
        assert_eq!(
            code(read(ReadError::Stopped { region: 1, why: "damage".into() })),
            "CLUSTERDOWN"
        );
    }

    #[test]
    fn an_unknown_outcome_says_that_the_write_may_have_happened() {
        let redirect: Redirect = Box::new(|_| None);
        let text =
            text(write_refused(&redirect, 0, &ProposeError::Unknown { why: "leader lost".into() }));
        assert!(text.starts_with("ERR outcome unknown: leader lost"), "{text}");
        assert!(text.ends_with("the write may or may not have taken effect"), "{text}");
    }
}
