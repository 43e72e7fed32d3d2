//! Fetching what the commands of an entry will look up, all of it at once.
//!
//! ```text
//! records of their keys        SET a 1 · HSET h f v · RPOP l     metadata "a", "h", "l"
//! counts of their slots        which change with keys that come and go
//! parts of their collections   their versions are known by then: subkey "h" 7 "f", …
//! ```
//!
//! A look-up of its own waits for memory, or for RocksDB, several times; here the waits of all of
//! them overlap ([`Batch::fetch`](neokv_engine::Batch::fetch)). Nothing but time depends on it:
//! what was not fetched, or has changed since, is looked up by its command.

use std::collections::HashMap;

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{self, UserKey};
use neokv_encoding::metadata::{self, Metadata};
use neokv_encoding::proto::write_command::Kind;
use neokv_encoding::proto::{ClientCommand, WriteCommand};
use neokv_engine::{Batch, Read};
use neokv_raftstore::ApplyContext;

use crate::command::declare::keys::{Parts, keys};
use crate::command::{Command, table};

/// Of a `DEL` of a million keys the first ones would have left memory before they are needed.
const MOST: usize = 1 << 14;

/// A client's command that looks up parts of a collection.
struct Call<'a> {
    parts: Parts,
    user: UserKey,
    args: &'a Vec<Bytes>,
}

/// Fetches what the commands of an entry will look up.
pub(super) fn fetch(cx: &ApplyContext<'_>, commands: &[WriteCommand]) {
    let room = commands.len().min(MOST);
    let (mut records, mut counts) = (Vec::with_capacity(room), Vec::with_capacity(room));
    let mut calls = Vec::new();
    for WriteCommand { namespace, kind } in commands {
        let Some(Kind::Client(ClientCommand { args })) = kind else { continue };
        let Some(command) = args.first().and_then(|name| table::lookup(name)) else { continue };
        let room = MOST - records.len();
        for key in keys(command.keys, args).take(room) {
            let user = UserKey::new(*namespace, key.clone());
            records.push(user.metadata());
            counts.push(key::slot_stats(user.slot, *namespace));
        }
        calls.extend(call(command, *namespace, args));
    }
    // A single one is looked for as fast by its command.
    let has_one_part = |call: &Call<'_>| call.parts.named(call.args).nth(1).is_none();
    if commands.len() == 1 && records.len() < 2 && calls.iter().all(has_one_part) {
        return;
    }
    cx.batch.fetch(Family::Metadata, &records);
    cx.batch.fetch(Family::SlotStats, &counts);
    let parts = parts(&cx.batch, &calls);
    if !parts.is_empty() {
        cx.batch.fetch(Family::Subkey, &parts);
    }
}

/// The command, if its words tell which parts of a collection it looks up.
fn call<'a>(command: &Command, namespace: u32, args: &'a Vec<Bytes>) -> Option<Call<'a>> {
    let parts = command.parts;
    let key = keys(command.keys, args).next().filter(|_| parts != Parts::Untold)?;
    Some(Call { parts, user: UserKey::new(namespace, key.clone()), args })
}

/// The rows of the parts that `calls` look up, as far as their collections exist already.
fn parts(batch: &Batch<'_>, calls: &[Call<'_>]) -> Vec<Vec<u8>> {
    let mut rows = Vec::with_capacity(calls.len().min(MOST));
    // Each collection once, with the elements that were taken from its two ends.
    let mut known: HashMap<(u32, &Bytes), (Option<metadata::Collection>, u64, u64)> =
        HashMap::new();
    for Call { parts, user, args } in calls {
        let (found, first, last) = known
            .entry((user.namespace, &user.key))
            .or_insert_with(|| (collection(batch, user), 0, 0));
        let Some(found) = found else { continue };
        let position = match parts {
            Parts::First => Some(found.head.checked_add(std::mem::replace(first, *first + 1))),
            Parts::Last => {
                *last += 1;
                Some(found.tail.checked_sub(*last))
            }
            _ => None,
        };
        let is_inside = |position: &u64| (found.head..found.tail).contains(position);
        if let Some(position) = position.flatten().filter(is_inside) {
            rows.push(user.subkey(found.version, &key::list_subkey(position)));
        }
        let room = MOST - rows.len();
        rows.extend(parts.named(args).take(room).map(|part| user.subkey(found.version, part)));
        if rows.len() == MOST {
            break;
        }
    }
    rows
}

/// The collection under a key.
fn collection(batch: &Batch<'_>, user: &UserKey) -> Option<metadata::Collection> {
    // What is wrong with a record its command will tell.
    let record = batch.get(Family::Metadata, &user.metadata()).ok()??;
    match Metadata::decode(&record).ok()? {
        Metadata::Collection(found) => Some(found),
        Metadata::String { .. } => None,
    }
}
