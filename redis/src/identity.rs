//! What this node is called.
//!
//! Redis clients know a node by 40 hexadecimal digits. Here they spell the store's identity on
//! disk, so that a node keeps its name across restarts and addresses: 16 digits cluster id, 16
//! digits store id, 8 zeros. The run id, by which a monitor notices a restart, is drawn again at
//! every start.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU16, Ordering};

use neokv_encoding::identity::Identity;

/// What this node is called.
#[derive(Debug, Default)]
pub struct NodeIdentity {
    /// CLUSTER MYID: 40 hexadecimal digits.
    pub node: String,
    /// `run_id` of INFO: 40 hexadecimal digits.
    pub run: String,
    /// The cluster's id.
    pub cluster_id: u64,
    /// The store's id within it.
    pub store_id: u64,
    /// Version of the formats on disk.
    pub format_version: u32,
    /// Operating system, release and machine.
    pub os: String,
    /// Path of the program.
    pub executable: String,
    /// The configuration file, empty if there is none.
    pub config_file: String,
    port: AtomicU16,
}

impl NodeIdentity {
    /// The identity of the node whose store has this one on disk.
    #[must_use]
    pub fn new(identity: &Identity, config_file: String) -> NodeIdentity {
        let system = rustix::system::uname();
        let [name, release, machine] = [system.sysname(), system.release(), system.machine()];
        let os = [name, release, machine].map(|part| part.to_string_lossy().into_owned()).join(" ");
        NodeIdentity {
            node: format!("{:016x}{:016x}{:08x}", identity.cluster_id, identity.store_id, 0),
            run: format!("{:016x}{:016x}{:08x}", random(), random(), std::process::id()),
            cluster_id: identity.cluster_id,
            store_id: identity.store_id,
            format_version: identity.format_version,
            os,
            executable: std::env::current_exe()
                .map(|path| path.display().to_string())
                .unwrap_or_default(),
            config_file,
            port: AtomicU16::new(0),
        }
    }

    /// The port that is listened on; 0 before that.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// Notes the port that is listened on.
    pub fn set_port(&self, port: u16) {
        self.port.store(port, Ordering::Relaxed);
    }
}

/// An unpredictable number, a new one at every call. The random keys of a hash map are
/// the only source of randomness in the standard library.
#[must_use]
pub fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_keeps_its_name_and_a_run_does_not() {
        let identity = Identity { format_version: 1, cluster_id: 0xabc, store_id: 1 };
        let (first, second) = (
            NodeIdentity::new(&identity, String::new()),
            NodeIdentity::new(&identity, String::new()),
        );
        assert_eq!(first.node, "0000000000000abc000000000000000100000000");
        assert_eq!(first.node, second.node);
        assert_eq!(first.run.len(), 40);
        assert_ne!(first.run, second.run);
    }
}
