//! Which Regions a command goes to, and the reply when it is not served here.
//!
//! A command's declaration says which Regions it concerns
//! ([`Scope`]): the one of its keys, the one of a slot, or every one. The bytes of a key decide its
//! slot, and a slot belongs to one Region:
//!
//! | situation | answer |
//! | --- | --- |
//! | all keys in one Region that is led here | it runs |
//! | `--cluster-mode`, keys of different slots | `CROSSSLOT Keys in request don't hash to the …` |
//! | keys in different Regions | the same |
//! | no Region for the slot | `CLUSTERDOWN Hash slot not served` |
//! | another store leads the Region | `MOVED slot address`; CLUSTERDOWN if that is unknown |
//! | it leads, but may not serve yet | `TRYAGAIN`: nothing happened, ask again |
//! | too much waits | `BUSY`: nothing happened |
//! | the disk is full | `OOM`: nothing happened |
//! | the outcome of a write is unknown | `ERR outcome unknown`: it may have happened |
//! | its Region is being split, or is about to serve | it waits a little; then one of the above |
//! | the majority of its Region does not answer | `TRYAGAIN`, after the deadline of the Region |
//!
//! **Every Region** means every Region that this node leads, as for a node of Redis Cluster: DBSIZE
//! and FLUSHALL concern what is here, and a client asks each node. A Region whose leader is unknown
//! is asked too, so that the command fails instead of answering for a part.
//!
//! # Regions change meanwhile
//!
//! A route may be wrong a moment later: the Region may have been split, or removed from this store.
//! So every route names the descriptor that it was made from, the Region compares the epoch when
//! the command runs, and a command that comes back is routed again. The client notices only a
//! delay, unless the wait is longer than [`LONGEST_WAIT`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use neokv_encoding::region::Descriptor;
use neokv_encoding::slot::{SlotRange, slot_of};
use neokv_raftstore::{ProposeError, ReadError, Region};
use neokv_resp::Reply;
use tokio::time::Instant;

use super::Context;
use super::connection::CloseReason;
use crate::command::declare::keys::keys;
use crate::command::declare::{Merge, Scope};
use crate::command::{Args, Command};
use crate::machine::RedisMachine;
use crate::topology::{RegionInfo, Topology};

const CROSSSLOT: &str = "CROSSSLOT Keys in request don't hash to the same slot";
const NOT_SERVED: &str = "CLUSTERDOWN Hash slot not served";
const CHANGING: &str = "TRYAGAIN the regions are changing; nothing happened";

/// How long all commands of a batch together wait for Regions that change, are about to serve, or
/// have no majority.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Pause before a Region that is waited for is looked up again.
const PAUSE: Duration = Duration::from_millis(2);

/// Finds Regions for one connection. It remembers those that it has found, but only for a batch of
/// commands, because Regions change.
///
/// Until it forgets, the same slot leads to the same Region. So two writes to one key that are
/// routed one after the other go to the same Region and keep their order there.
#[derive(Default)]
pub struct Router {
    /// By their first slots.
    known: BTreeMap<u16, Destination>,
}

/// A Region, as it was when it was looked up.
#[derive(Clone)]
pub struct Destination {
    /// The Region.
    pub region: Arc<Region<RedisMachine>>,
    /// What it was then.
    pub descriptor: Arc<Descriptor>,
}

/// Where a command runs.
pub enum Route<'r> {
    /// In one Region.
    One(Place<'r>),
    /// In several, whose replies become one.
    Every(Vec<Destination>, Merge),
}

/// One Region, and what a command does there.
pub struct Place<'r> {
    /// The Region.
    pub destination: &'r Destination,
    /// The slots that it may look at: nearly always those of the Region.
    pub slots: SlotRange,
    /// The slot of the command, for MOVED.
    pub slot: u16,
    /// The first slot of the next Region that is led here, where the command asks for it.
    pub next_slot: Option<u16>,
}

/// Why a command does not run now.
#[derive(Debug)]
pub enum NoRoute {
    /// It is not served here; the reply.
    Refused(Reply),
    /// Its Region is changing, or is about to serve; the reply if that takes too long. Nothing
    /// happened.
    NotYet(Reply),
}

impl NoRoute {
    /// The same for a command that asks every Region: which these are is looked up once more.
    #[must_use]
    pub fn again(self) -> NoRoute {
        let (NoRoute::Refused(reply) | NoRoute::NotYet(reply)) = self;
        NoRoute::NotYet(reply)
    }
}

/// Why an attempt to run a command came to nothing. The client has not been told.
pub(super) enum Failed {
    /// The command does not run now.
    NoRoute(NoRoute),
    /// The connection ends.
    Close(CloseReason),
}

impl From<NoRoute> for Failed {
    fn from(why: NoRoute) -> Failed {
        Failed::NoRoute(why)
    }
}

impl From<CloseReason> for Failed {
    fn from(why: CloseReason) -> Failed {
        Failed::Close(why)
    }
}

/// How long the commands of a batch have waited for their Regions.
#[derive(Default)]
pub struct RouteWait {
    waited: Duration,
    /// The refusals of the Regions that are not asked again, by Region.
    unready: BTreeMap<u64, ReadError>,
}

impl RouteWait {
    /// Waits for a moment. Returns false at once if the batch has waited long enough.
    pub async fn pause(&mut self) -> bool {
        if self.is_over() {
            return false;
        }
        let began = Instant::now();
        tokio::time::sleep(PAUSE).await;
        self.waited += began.elapsed();
        true
    }

    /// Notes that a Region refused a read after `time`. The time counts as waiting, because a
    /// Region without its majority refuses only at its deadline. Once the batch has waited long
    /// enough, a Region that is not ready is not asked again: each command behind would wait as
    /// long.
    pub fn refused(&mut self, time: Duration, error: &ReadError) {
        self.waited += time;
        if let ReadError::NotReady { region, .. } = error
            && self.is_over()
        {
            self.unready.insert(*region, error.clone());
        }
    }

    /// The refusal of a Region that is not asked again.
    pub fn unready(&self, region: u64) -> Option<&ReadError> {
        self.unready.get(&region)
    }

    /// Whether the batch has waited long enough.
    pub fn is_over(&self) -> bool {
        self.waited >= LONGEST_WAIT
    }
}

/// What a connection has said about where its commands may run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// READONLY: reads may go to a replica that does not lead.
    pub readonly: bool,
    /// ASKING: the next command may go to a replica that does not lead.
    pub asking: bool,
}

impl Access {
    /// Whether the command may go to a replica that does not lead.
    fn allows_follower(self, command: &Command) -> bool {
        self.asking || (self.readonly && !command.is_write())
    }
}

impl Router {
    /// Forgets the Regions: at the end of a batch, and when a command came back.
    pub fn forget(&mut self) {
        self.known.clear();
    }

    /// The Regions that `command` goes to with these arguments.
    ///
    /// # Errors
    /// [`NoRoute`].
    pub fn route(
        &mut self,
        context: &Context,
        command: &Command,
        args: &Args,
        access: Access,
    ) -> Result<Route<'_>, NoRoute> {
        match command.scope() {
            // The Region of the first key; the other keys must be there too.
            Scope::Keys => {
                let slot = keys(command.keys, args).next().map_or(0, |key| slot_of(key));
                let destination = self.find(context, command, slot, access)?;
                check_same_place(context.cluster_mode, destination, slot, command, args)?;
                Ok(Route::One(Place::new(destination, slot)))
            }
            Scope::EveryRegion(merge) => {
                let mut regions = every_region(context)?;
                if regions.len() > 1 {
                    return Ok(Route::Every(regions, merge));
                }
                // A single Region needs no merge.
                let only = regions.pop().ok_or_else(not_served)?;
                let slot = only.descriptor.slots.start;
                Ok(Route::One(Place::new(self.remember(only), slot)))
            }
            Scope::FromSlot(slot) => {
                // Without a slot the handler refuses the command, in any Region.
                self.route_from(context, slot(args).unwrap_or(0))
            }
            Scope::Slot(slot) => {
                let slot = slot(args).unwrap_or(0);
                let destination = self.find(context, command, slot, access)?;
                Ok(Route::One(Place::new(destination, slot)))
            }
            // Such commands run on the connection and are not routed.
            Scope::Server => Err(not_served()),
        }
    }

    /// The Region of a slot: a known one, or a new look-up.
    fn find(
        &mut self,
        context: &Context,
        command: &Command,
        slot: u16,
        access: Access,
    ) -> Result<&Destination, NoRoute> {
        let below = self.known.range(..=slot).next_back();
        let known = below.filter(|(_, known)| known.descriptor.slots.contains(slot));
        match known.map(|(start, _)| *start) {
            Some(start) => self.known.get(&start).ok_or_else(not_served),
            None => {
                let found = region_of_slot(context, command, slot, access)?;
                Ok(self.remember(found))
            }
        }
    }

    fn remember(&mut self, found: Destination) -> &Destination {
        let start = found.descriptor.slots.start;
        self.known.entry(start).insert_entry(found).into_mut()
    }

    /// The first Region that this node leads and that ends behind `slot`. If there is none, the end
    /// of the last Region, where nothing is left to find.
    fn route_from(&mut self, context: &Context, slot: u16) -> Result<Route<'_>, NoRoute> {
        let mut regions = every_region(context)?;
        let at = regions.iter().position(|region| region.descriptor.slots.end > slot);
        let next_slot =
            at.and_then(|at| regions.get(at + 1)).map(|next| next.descriptor.slots.start);
        let found = at.map(|at| regions.swap_remove(at));
        let is_behind_all = found.is_none();
        let found = found.or_else(|| regions.pop()).ok_or_else(not_served)?;
        let mut slots = found.descriptor.slots;
        if is_behind_all {
            slots.start = slots.end;
        }
        Ok(Route::One(Place { destination: self.remember(found), slots, slot, next_slot }))
    }
}

impl Place<'_> {
    fn new(destination: &Destination, slot: u16) -> Place<'_> {
        let slots = destination.descriptor.slots;
        Place { destination, slots, slot, next_slot: None }
    }
}

fn not_served() -> NoRoute {
    NoRoute::Refused(Reply::error(NOT_SERVED))
}

/// The reply to a command whose Regions have changed again and again.
#[must_use]
pub fn changing() -> Reply {
    Reply::error(CHANGING)
}

/// The Region of a slot, if this node may run the command there.
fn region_of_slot(
    context: &Context,
    command: &Command,
    slot: u16,
    access: Access,
) -> Result<Destination, NoRoute> {
    let Some(region) = context.store.region_of_slot(slot) else {
        // It is elsewhere, or nowhere for the moment of a split.
        let info = context.topology.region_of_slot(slot).filter(|info| !info.is_here);
        return Err(match info {
            Some(info) => NoRoute::Refused(moved(&*context.topology, slot, info.leader)),
            None => NoRoute::NotYet(Reply::error(NOT_SERVED)),
        });
    };
    let descriptor = region.descriptor();
    if !descriptor.slots.contains(slot) {
        return Err(NoRoute::NotYet(changing()));
    }
    if let Err(error) = region.read_now(descriptor.epoch) {
        let allows_follower = access.allows_follower(command);
        check_replica(&*context.topology, slot, &error, allows_follower)?;
    }
    Ok(Destination { region, descriptor })
}

/// Whether a command goes to a replica that may not read its Region at once, for this reason.
///
/// # Errors
/// [`NoRoute`].
pub fn check_replica(
    topology: &dyn Topology,
    slot: u16,
    error: &ReadError,
    allows_follower: bool,
) -> Result<(), NoRoute> {
    match error {
        // It leads, with other voters: a read asks the majority later.
        ReadError::NeedsQuorum { .. } => Ok(()),
        // The replica decides itself. Today a follower serves nothing: it answers reads and writes
        // with NotLeader, which becomes MOVED to the leader.
        ReadError::NotLeader { leader: Some(_), .. } if allows_follower => Ok(()),
        // The client is sent to the leader, or told that the Region has stopped.
        ReadError::NotLeader { leader: Some(_), .. } | ReadError::Stopped { .. } => {
            Err(NoRoute::Refused(read_refused(topology, slot, error)))
        }
        // It starts, changes its shape, or elects a leader. Without a leader a follower cannot
        // serve either: it has nobody to ask how far it must have applied.
        _ => Err(NoRoute::NotYet(read_refused(topology, slot, error))),
    }
}

/// Whether this node leads a Region, or may lead it because no leader is known.
fn may_lead(info: &RegionInfo) -> bool {
    info.is_here && (info.is_led_here || info.leader.is_none())
}

/// Every Region that this node leads, in the order of their slots.
///
/// # Errors
/// [`NoRoute::NotYet`] while a split is under way, so that every slot is covered exactly once.
pub fn every_region(context: &Context) -> Result<Vec<Destination>, NoRoute> {
    // The end of the slots seen so far: the next Region must begin there.
    let mut covered = 0;
    let mut regions = Vec::new();
    for info in context.topology.regions() {
        if info.slots.start != covered {
            return Err(NoRoute::NotYet(Reply::error(NOT_SERVED)));
        }
        covered = info.slots.end;
        if may_lead(&info) {
            let region = context.store.region(info.id);
            let region = region.ok_or_else(|| NoRoute::NotYet(changing()))?;
            let descriptor = region.descriptor();
            if descriptor.slots != info.slots {
                return Err(NoRoute::NotYet(changing()));
            }
            regions.push(Destination { region, descriptor });
        }
    }
    if covered != SlotRange::ALL.end {
        return Err(NoRoute::NotYet(Reply::error(NOT_SERVED)));
    }
    if regions.is_empty() { Err(not_served()) } else { Ok(regions) }
}

/// Refuses keys that are elsewhere than the first one: in cluster mode in another slot, otherwise
/// in another Region.
fn check_same_place(
    cluster_mode: bool,
    destination: &Destination,
    first: u16,
    command: &Command,
    args: &Args,
) -> Result<(), NoRoute> {
    let slots = destination.descriptor.slots;
    if !cluster_mode && slots == SlotRange::ALL {
        return Ok(());
    }
    let fits = |slot: u16| if cluster_mode { slot == first } else { slots.contains(slot) };
    if keys(command.keys, args).skip(1).all(|key| fits(slot_of(key))) {
        Ok(())
    } else {
        Err(NoRoute::Refused(Reply::error(CROSSSLOT)))
    }
}

/// The reply for a read that is not possible here and now.
#[must_use]
pub fn read_refused(topology: &dyn Topology, slot: u16, error: &ReadError) -> Reply {
    match error {
        ReadError::NotLeader { leader, .. } => moved(topology, slot, *leader),
        ReadError::NeedsQuorum { .. } | ReadError::NotReady { .. } => {
            Reply::error(format!("TRYAGAIN {error}"))
        }
        ReadError::StaleEpoch { .. } => changing(),
        other => Reply::error(format!("CLUSTERDOWN {other}")),
    }
}

/// The reply for every command of a proposal that did not come through.
#[must_use]
pub fn write_refused(topology: &dyn Topology, slot: u16, error: &ProposeError) -> Reply {
    match error {
        ProposeError::NotLeader { leader, .. } => moved(topology, slot, *leader),
        ProposeError::NotReady { .. } => Reply::error(format!("TRYAGAIN {error}")),
        ProposeError::Busy { .. } => Reply::error(format!("BUSY {error}")),
        ProposeError::NoSpace => Reply::error(format!("OOM {error}")),
        ProposeError::Stopped { .. } => Reply::error(format!("CLUSTERDOWN {error}")),
        ProposeError::Unknown { why } => Reply::error(format!(
            "ERR outcome unknown: {why}. It is not known whether the write took effect: look \
             before you send it again"
        )),
        other => Reply::error(format!("ERR {other}")),
    }
}

fn moved(topology: &dyn Topology, slot: u16, leader: Option<u64>) -> Reply {
    match leader.and_then(|store| topology.address(store)) {
        Some(address) => Reply::error(format!("MOVED {slot} {address}")),
        None => Reply::error(NOT_SERVED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::table::lookup;
    use crate::testing::FixedTopology;

    fn text(reply: Reply) -> String {
        let Reply::Error(text) = reply else { panic!("expected an error, got {reply:?}") };
        text.into_owned()
    }

    #[test]
    fn every_refusal_has_the_code_that_clients_act_on() {
        let write = |error: ProposeError| text(write_refused(&FixedTopology, 42, &error));
        let read = |error: ReadError| text(read_refused(&FixedTopology, 42, &error));
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
    fn readonly_lets_reads_go_to_a_follower_and_asking_any_command() {
        let [get, set] = ["get", "set"].map(|name| lookup(name.as_bytes()).unwrap());
        let allowed = |readonly: bool, asking: bool| {
            let access = Access { readonly, asking };
            [get, set].map(|command| access.allows_follower(command))
        };
        assert_eq!(allowed(false, false), [false, false]);
        assert_eq!(allowed(true, false), [true, false]);
        assert_eq!(allowed(false, true), [true, true]);
        assert_eq!(allowed(true, true), [true, true]);
    }

    /// During an election a command waits, whether or not a follower may serve it.
    #[test]
    fn only_a_follower_that_knows_its_leader_may_be_asked() {
        let check = |error: &ReadError, allows_follower: bool| {
            check_replica(&FixedTopology, 42, error, allows_follower)
        };
        let led = ReadError::NotLeader { region: 1, leader: Some(7) };
        assert!(check(&led, true).is_ok());
        let Err(NoRoute::Refused(reply)) = check(&led, false) else { panic!("it runs") };
        assert_eq!(text(reply), "MOVED 42 10.0.0.7:6379");
        let electing = ReadError::NotLeader { region: 1, leader: None };
        for allows_follower in [false, true] {
            let waits = matches!(check(&electing, allows_follower), Err(NoRoute::NotYet(_)));
            assert!(waits, "allows_follower: {allows_follower}");
        }
        assert!(check(&ReadError::NeedsQuorum { region: 1 }, false).is_ok());
    }

    #[test]
    fn a_region_that_was_waited_for_long_enough_is_not_asked_again() {
        let refusal = ReadError::NotReady { region: 1, why: "its majority does not answer" };
        let mut wait = RouteWait::default();
        wait.refused(LONGEST_WAIT / 2, &refusal);
        assert!(!wait.is_over() && wait.unready(1).is_none());
        wait.refused(LONGEST_WAIT / 2, &refusal);
        assert!(wait.is_over());
        assert_eq!((wait.unready(1), wait.unready(2)), (Some(&refusal), None));
        // One that is led elsewhere by now is looked up, which takes no time.
        wait.refused(Duration::ZERO, &ReadError::NotLeader { region: 3, leader: None });
        assert_eq!(wait.unready(3), None);
    }

    #[test]
    fn an_unknown_outcome_says_that_the_write_may_have_happened() {
        let unknown = ProposeError::Unknown { why: "leader lost".into() };
        let text = text(write_refused(&FixedTopology, 0, &unknown));
        assert_eq!(
            text,
            "ERR outcome unknown: leader lost. It is not known whether the write took effect: look \
             before you send it again"
        );
    }
}
