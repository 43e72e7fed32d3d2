//! The server as commands about the connection and the process see it.

use super::{Context, report};
use crate::clients::Clients;
use crate::config::{ParameterStore, Settings};
use crate::facts::Facts;
use crate::host::Host;
use crate::identity::NodeIdentity;
use crate::password::Password;
use crate::stats::ServerStats;
use crate::topology::Topology;

impl Host for Context {
    fn facts(&self) -> Facts {
        report::facts(self)
    }

    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn parameters(&self) -> &ParameterStore {
        &self.parameters
    }

    fn identity(&self) -> &NodeIdentity {
        &self.identity
    }

    fn clients(&self) -> &Clients {
        &self.clients
    }

    fn stats(&self) -> &ServerStats {
        &self.stats
    }

    fn topology(&self) -> &dyn Topology {
        &*self.topology
    }

    fn password(&self) -> Option<&Password> {
        self.password.as_ref()
    }

    fn max_reply_bytes(&self) -> u64 {
        // A client that has more than this waiting is disconnected.
        u64::try_from(self.limits.output).unwrap_or(u64::MAX)
    }
}
