//! A process for tests of session commands: no socket, no store, no clock.

use neokv_encoding::region::Epoch;
use neokv_encoding::slot::SlotRange;
use parking_lot::Mutex;

use super::words;
use crate::clients::Clients;
use crate::command::declare::SessionCx;
use crate::command::{CommandResult, Handler, table};
use crate::config::{self, ParameterStore, Settings};
use crate::facts::Facts;
use crate::host::Host;
use crate::identity::NodeIdentity;
use crate::password::Password;
use crate::session::Session;
use crate::stats::ServerStats;
use crate::topology::{NodeInfo, RegionInfo, Topology};

/// A process with default options and one connection.
pub(crate) struct TestHost {
    /// Bytes that one reply may take.
    pub max_reply_bytes: u64,
    settings: Settings,
    parameters: ParameterStore,
    identity: NodeIdentity,
    clients: Clients,
    stats: ServerStats,
    session: Mutex<Session>,
}

impl TestHost {
    pub fn new() -> TestHost {
        let names = || table::all().map(|command| command.name);
        let clients = Clients::new(names());
        let address = "127.0.0.1:1".parse().unwrap();
        let client = clients.admit(1, address, address).unwrap();
        TestHost {
            max_reply_bytes: 1 << 30,
            settings: config::defaults().unwrap(),
            parameters: ParameterStore::default(),
            identity: NodeIdentity::default(),
            clients,
            stats: ServerStats::new(names()),
            session: Mutex::new(Session::new(client, false, 1)),
        }
    }

    /// Runs a session command.
    pub fn session(&self, line: &str) -> CommandResult {
        let args = words(line);
        let Ok((_, command)) = table::find(&args) else { panic!("no command {line:?}") };
        command.check_arity(&args)?;
        let Handler::Session(handler) = command.handler else {
            panic!("{} is no session command", command.name)
        };
        let mut session = self.session.lock();
        let commands = table::table();
        handler(&mut SessionCx { session: &mut session, host: self, commands }, &args)
    }
}

impl Host for TestHost {
    fn facts(&self) -> Facts {
        Facts::default()
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
        &FixedTopology
    }

    fn password(&self) -> Option<&Password> {
        None
    }

    fn max_reply_bytes(&self) -> u64 {
        self.max_reply_bytes
    }
}

/// One Region with all slots, led by store 7 at 10.0.0.7:6379. No other store's address is known.
pub(crate) struct FixedTopology;

impl FixedTopology {
    const STORE: u64 = 7;
}

impl Topology for FixedTopology {
    fn regions(&self) -> Vec<RegionInfo> {
        vec![RegionInfo {
            id: 1,
            slots: SlotRange::ALL,
            epoch: Epoch { version: 1, conf_ver: 1 },
            leader: Some(Self::STORE),
            is_led_here: false,
            is_here: false,
        }]
    }

    fn region_of_slot(&self, slot: u16) -> Option<RegionInfo> {
        self.regions().into_iter().find(|region| region.slots.contains(slot))
    }

    fn nodes(&self) -> Vec<NodeInfo> {
        vec![NodeInfo {
            store: Self::STORE,
            id: "7".repeat(40),
            address: Some(("10.0.0.7".to_owned(), 6379)),
            applied: 1,
        }]
    }

    fn address(&self, store: u64) -> Option<String> {
        (store == Self::STORE).then(|| "10.0.0.7:6379".to_owned())
    }
}
