//! The process as commands about the connection and the server see it.
//!
//! INFO, CONFIG, CLIENT, CLUSTER, HELLO and their like ask for facts, settings, the list of
//! clients. They do so through the trait [`Host`], so that they know neither sockets nor the node
//! around them, and a test can stand in for both:
//!
//! ```text
//! command::info ──► Host ◄── server::Context
//! ```

use crate::clients::Clients;
use crate::config::{ParameterStore, Settings};
use crate::facts::Facts;
use crate::identity::NodeIdentity;
use crate::password::Password;
use crate::stats::ServerStats;
use crate::topology::Topology;

/// What a session command may ask of the process.
pub trait Host: Send + Sync {
    /// Everything that INFO tells. Asks engine, kernel and allocator: a millisecond or so.
    fn facts(&self) -> Facts;

    /// The effective options.
    fn settings(&self) -> &Settings;

    /// What CONFIG SET has set.
    fn parameters(&self) -> &ParameterStore;

    /// What the node is called.
    fn identity(&self) -> &NodeIdentity;

    /// The connections.
    fn clients(&self) -> &Clients;

    /// The counters.
    fn stats(&self) -> &ServerStats;

    /// Which Regions and nodes there are.
    fn topology(&self) -> &dyn Topology;

    /// The password that clients must give; `None` asks for none.
    fn password(&self) -> Option<&Password>;

    /// Bytes that one reply may take.
    fn max_reply_bytes(&self) -> u64;
}
