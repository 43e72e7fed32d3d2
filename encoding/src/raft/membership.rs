//! Which peers are voters, and on which store each peer is.
//!
//! One configuration in normal times; two during joint consensus, when a majority of *each* must
//! agree. `nodes` lists every peer, voters and learners, with its store. Addresses are not here:
//! they change without a membership change.

use std::collections::{BTreeMap, BTreeSet};

use super::{LogId, count, read_log_id_option, read_version, versioned, write_log_id_option};
use crate::{
    error::DecodeError,
    layout::{self, Field, Reader, Result, Trace, evidence},
};

const CONFIGS: &Field =
    &Field::new("configs", "two during joint consensus: a majority of each decides");
const CONFIG: &Field = &Field::new("config", "a majority of these peers decides");
const NODES: &Field = &Field::new("nodes", "every peer, voters and learners, and its store");
const NODE: &Field =
    &Field::new("node", "a peer is a replica: a store never holds two of one Region");
const COUNT: &Field = &Field::new("count", "number of items that follow").evidence(evidence::small);
const PEER: &Field =
    &Field::new("peer", "ascending, so that equal sets have equal bytes").evidence(evidence::small);
const STORE: &Field =
    &Field::new("store", "the store, not its address: addresses change").evidence(evidence::small);

/// The voters and learners of a Region.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Membership {
    /// Entry that set it; `None` before the first.
    pub log_id: Option<LogId>,
    /// Voters: one set, or two during joint consensus.
    pub configs: Vec<BTreeSet<u64>>,
    /// Store of every peer, learners included.
    pub nodes: BTreeMap<u64, u64>,
}

impl Membership {
    /// The bytes, with version byte.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = versioned(64);
        self.write(&mut out);
        out
    }

    /// The inverse of [`Membership::encode`].
    ///
    /// # Errors
    /// Bytes that no encoder writes.
    pub fn decode(bytes: &[u8]) -> std::result::Result<Membership, DecodeError> {
        layout::decode(bytes, "membership", |r| {
            read_version(r)?;
            read(r)
        })
    }

    /// Writes the bytes without version, as part of another record.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        write_log_id_option(self.log_id, out);
        out.extend_from_slice(&count(self.configs.len()).to_be_bytes());
        for config in &self.configs {
            out.extend_from_slice(&count(config.len()).to_be_bytes());
            for peer in config {
                out.extend_from_slice(&peer.to_be_bytes());
            }
        }
        out.extend_from_slice(&count(self.nodes.len()).to_be_bytes());
        for (peer, store) in &self.nodes {
            out.extend_from_slice(&peer.to_be_bytes());
            out.extend_from_slice(&store.to_be_bytes());
        }
    }
}

/// Reads what [`Membership::write`] writes. A count is believed only as far as its items are really
/// there.
pub(crate) fn read<T: Trace>(r: &mut Reader<'_, T>) -> Result<Membership> {
    let log_id = read_log_id_option(r)?;
    let configs = r.group(CONFIGS, |r| {
        let mut configs = Vec::new();
        for _ in 0..r.u32(COUNT)? {
            configs.push(r.group(CONFIG, read_config)?);
        }
        Ok(configs)
    })?;
    let nodes = r.group(NODES, |r| {
        let mut nodes = BTreeMap::new();
        for _ in 0..r.u32(COUNT)? {
            let (peer, store) = r.group(NODE, |r| Ok((r.u64(PEER)?, r.u64(STORE)?)))?;
            ascending(nodes.last_key_value().map(|(last, _)| *last), peer)?;
            nodes.insert(peer, store);
        }
        Ok(nodes)
    })?;
    Ok(Membership { log_id, configs, nodes })
}

fn read_config<T: Trace>(r: &mut Reader<'_, T>) -> Result<BTreeSet<u64>> {
    let mut config = BTreeSet::new();
    for _ in 0..r.u32(COUNT)? {
        let peer = r.u64(PEER)?;
        ascending(config.last().copied(), peer)?;
        config.insert(peer);
    }
    Ok(config)
}

fn ascending(last: Option<u64>, next: u64) -> Result<()> {
    if last.is_none_or(|last| last < next) {
        Ok(())
    } else {
        Err(DecodeError::Invalid { what: "peer", why: "peers are ascending and distinct" })
    }
}
