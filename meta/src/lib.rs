//! Where the replicas and leaders of a cluster belong, and the steps that bring them there.
//!
//! Somebody has to notice that a store is gone and that seven Regions have two replicas left, has
//! to choose where the third goes, and must not lose the other two on the way. This crate holds the
//! rules for that, as pure functions: no IO, no thread, no clock. The time is an argument, maps are
//! sorted, and the same cluster always gets the same answer with the same reasons.
//!
//! ```text
//!   reports of stores and Regions
//!        │
//!        ▼
//!     Cluster ──▶ rules ──▶ Plan: proposals, each with a reason, and why others have to wait
//!        ▲                    │ begin
//!        │                    ▼
//!        └── Region ◀─step── Operator ──▶ advance: send this, wait, done, stale, timed out
//! ```
//!
//! # A store is down
//!
//! ```
//! use std::{collections::BTreeSet, time::Duration};
//! use neokv_encoding::{
//!     epoch::Epoch, raft::{Peer, PeerRole}, region::{Descriptor, RegionState}, slot::SlotRange,
//! };
//! use neokv_meta::cluster::{Cluster, Region, Store, Wish};
//! use neokv_meta::operator::{Progress, Step};
//! use neokv_meta::plan::plan;
//!
//! // Store 3 was last heard of an hour ago. Its Region has replicas on stores 1 to 3.
//! let now = Duration::from_secs(3600);
//! let mut cluster = Cluster::default();
//! for id in 1..=4 {
//!     let heartbeat = if id == 3 { Duration::ZERO } else { now };
//!     let (labels, capacity, used) = (Default::default(), 1 << 40, 0);
//!     let (wish, evict_leaders) = (Wish::Serve, false);
//!     cluster.stores.insert(id, Store { labels, capacity, used, heartbeat, wish, evict_leaders });
//! }
//! let peers = (1..=3).map(|id| Peer { id: 70 + id, store: id, role: PeerRole::Voter }).collect();
//! let (slots, epoch, state) = (SlotRange::ALL, Epoch::default(), RegionState::Normal);
//! let descriptor = Descriptor { id: 7, slots, epoch, peers, state };
//! let region = Region { descriptor, leader: Some(71), bytes: 0, pending: BTreeSet::new() };
//! cluster.regions.insert(7, region.clone());
//!
//! let plan = plan(&cluster, &[], now);
//! assert_eq!(
//!     plan.proposals[0].reason,
//!     "region 7: store 3 is down for 3600 s; its replica goes to store 4, \
//!      the only store that can take it"
//! );
//!
//! // The operator says what to send, and compares each report of the Region with its steps.
//! let operator = plan.proposals[0].begin(&region, now + Duration::from_secs(600)).unwrap();
//! let first = Step::AddLearner { store: 4 };
//! assert_eq!(operator.advance(&region, now), Progress::Continue(first));
//! ```
//!
//! # The modules
//!
//! Each uses only those above it; a test of the workspace holds that.
//!
//! | module | what it is |
//! | --- | --- |
//! | `words` | numbers in sentences |
//! | [`cluster`] | what is known at one instant |
//! | [`operator`] | steps for one Region, and how far they are |
//! | [`placement`] | where a new replica goes |
//! | [`rules`] | what each rule would change |
//! | [`mod@plan`] | one round of all rules, within limits |
//!
//! # Promises
//!
//! * A replica that is removed was replaced before, by one that votes; the voters never fall below
//!   what is wanted, unless they were below it when the operator began.
//! * A leader hands over before its replica is removed.
//! * No Region gets two replicas on one store.
//! * Where nothing fails and nobody wishes anything, the rules come to rest.
//!
//! What is not here: who keeps this knowledge safe, who collects the reports, who sends the steps.
//!
//! Try `cargo run -p neokv-meta --example rules`.

pub mod cluster;
pub mod operator;
pub mod placement;
pub mod plan;
pub mod rules;
mod words;
