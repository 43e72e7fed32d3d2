//! Looks into a store: whose it is, its Regions, the end of its log, one of its keys.
//!
//! ```text
//! cargo run -p neokv-inspect --example look [DIR]
//! ```
//!
//! Without a directory it makes a small store, as a server would leave it that was killed.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use neokv_encoding::family::Family;
use neokv_encoding::key::{self, RegionKind, UserKey};
use neokv_encoding::metadata::encode_string;
use neokv_encoding::raft::{Entry, LogId, Payload, Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, RegionState, Replica, ReplicaState};
use neokv_encoding::slot::SlotRange;
use neokv_encoding::slot_stats::SlotStats;
use neokv_engine::{Durability, Engine, Options, identity};
use neokv_inspect::key_list::{self, KeyQuery};
use neokv_inspect::raft::{self, LogQuery};
use neokv_inspect::{Source, key_dump, region, store};

fn main() -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::tempdir()?;
    let dir = match std::env::args_os().nth(1) {
        Some(dir) => PathBuf::from(dir),
        None => {
            make(scratch.path())?;
            scratch.path().to_path_buf()
        }
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
    let source = Source::open(&dir, u64::try_from(now.as_millis())?)?;

    let summary = store::summary(&source);
    println!("{} ({}): {:?}", dir.display(), source.server, summary.identity);
    for size in summary.families {
        println!("  family {:<10}  about {} rows", size.family, size.rows);
    }
    for region in region::list(&source) {
        println!("Region {}: {:?} keys", region.records.id, region.keys);
        let query = LogQuery { region: Some(region.records.id), from: None, to: None, limit: 3 };
        for entry in raft::log(&source, &query)?.entries {
            println!("  entry {} is {}: {:?}", entry.index, entry.state.name(), entry.payload);
        }
    }
    let query =
        KeyQuery { slots: SlotRange::ALL, namespace: None, prefix: Default::default(), limit: 1 };
    for listed in key_list::list(&source, &query)?.keys {
        println!("the first key: {listed:?}");
        for group in key_dump::dump(&source, listed.user, 3)?.groups {
            println!("  {} {} row(s) in {}", group.rows.len(), group.role.name(), group.family);
        }
    }
    println!("problems: {:?}", source.problems);
    Ok(())
}

/// A store of one Region, one entry and one key.
fn make(dir: &Path) -> Result<(), Box<dyn Error>> {
    let engine = Engine::open(dir, &Options::default())?;
    identity::establish(&engine, 7, 1)?;
    let epoch = Epoch { version: 1, conf_ver: 1 };
    let peers = vec![Peer { id: 1, store: 1, role: PeerRole::Voter }];
    let replica = Replica { peer: 1, state: ReplicaState::Member, epoch };
    let descriptor =
        Descriptor { id: 1, slots: SlotRange::ALL, epoch, peers, state: RegionState::Normal };
    let entry = Entry { log_id: LogId { term: 1, index: 6 }, payload: Payload::Blank };
    let user = UserKey::new(0, "greeting".into());
    let mut batch = engine.batch();
    batch.put(Family::Region, key::region(1, RegionKind::Replica), replica.encode());
    batch.put(Family::Region, key::region(1, RegionKind::Descriptor), descriptor.encode());
    batch.put(Family::RaftLog, key::raft_log(1, 6), entry.encode());
    batch.put(Family::Metadata, user.metadata(), encode_string(0, b"hello"));
    let count = SlotStats { keys: 1 }.encode();
    batch.put(Family::SlotStats, key::slot_stats(user.slot, 0), count);
    engine.write(batch, Durability::Synced)?;
    Ok(())
}
