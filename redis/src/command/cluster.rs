//! CLUSTER: the slots and who serves them, in the words of Redis Cluster.
//!
//! A standalone node is a cluster of one: it serves every slot that its Regions hold, which is all
//! of them. The answers come from the Regions' descriptors, not from a constant, so that they are
//! the truth also while a Region is missing.
//!
//! Subcommands that change a cluster by hand (MEET, ADDSLOTS, FAILOVER, …) do not exist: who serves
//! what is the scheduler's decision, and a client that believes otherwise should hear so at once.

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, metadata_slot_prefix};
use neokv_encoding::slot::{SLOTS, SlotRange, slot_of};
use neokv_engine::{Direction, Engine, KeyRange, Read};
use neokv_resp::Reply;

use super::subcommand::{Subcommand, dispatch};
use super::{Args, Command, CommandError, Group, Handler, KeySpec, Outcome, args};
use crate::keyspace::Tally;
use crate::machine::NAMESPACE;
use crate::node::report;
use crate::server::SessionCx;

/// CLUSTER.
pub const COMMANDS: &[Command] = &[Command {
    name: "cluster",
    arity: -2,
    flags: &[],
    keys: KeySpec::None,
    group: Group::Cluster,
    since: "3.0.0",
    complexity: "Depends on subcommand.",
    summary: "A container for cluster commands",
    handler: Handler::Session(|cx, args| dispatch("cluster", SUBCOMMANDS, cx, args)),
}];

/// The subcommands of CLUSTER.
pub const SUBCOMMANDS: &[Subcommand] = &[
    Subcommand {
        name: "cluster|countkeysinslot",
        arity: 3,
        help: &["COUNTKEYSINSLOT <slot>", "    Return the number of keys in <slot>."],
        handler: count_keys_in_slot,
    },
    Subcommand {
        name: "cluster|getkeysinslot",
        arity: 4,
        help: &[
            "GETKEYSINSLOT <slot> <count>",
            "    Return key names stored by current node in a slot.",
        ],
        handler: get_keys_in_slot,
    },
    Subcommand {
        name: "cluster|info",
        arity: 2,
        help: &["INFO", "    Return information about the cluster."],
        handler: |cx, _| Ok(Reply::Verbatim("txt", info(&Node::of(cx)).into())),
    },
    Subcommand {
        name: "cluster|keyslot",
        arity: 3,
        help: &["KEYSLOT <key>", "    Return the hash slot for <key>."],
        handler: |_, args| Ok(Reply::Integer(i64::from(slot_of(args::get(args, 2)?)))),
    },
    Subcommand {
        name: "cluster|links",
        arity: 2,
        help: &[
            "LINKS",
            "    Return the network links between this node and its peers: none, they belong to Raft.",
        ],
        handler: |_, _| Ok(Reply::Array(Vec::new())),
    },
    Subcommand {
        name: "cluster|myid",
        arity: 2,
        help: &["MYID", "    Return the node id."],
        handler: |cx, _| Ok(Reply::bulk(Node::of(cx).id)),
    },
    Subcommand {
        name: "cluster|nodes",
        arity: 2,
        help: &[
            "NODES",
            "    Return cluster configuration seen by node. Output format:",
            "    <id> <ip:port@bus-port> <flags> <master> <pings> <pongs> <epoch> <link> <slot> ...",
        ],
        handler: |cx, _| Ok(Reply::Verbatim("txt", nodes(&Node::of(cx)).into())),
    },
    Subcommand {
        name: "cluster|shards",
        arity: 2,
        help: &[
            "SHARDS",
            "    Return information about slot range mappings and the nodes associated with them.",
        ],
        handler: |cx, _| Ok(shards(&Node::of(cx))),
    },
    Subcommand {
        name: "cluster|slots",
        arity: 2,
        help: &[
            "SLOTS",
            "    Return information about slots range mappings. Each range is made of:",
            "    start, end, master and replicas IP addresses, ports and ids",
        ],
        handler: |cx, _| Ok(slots(&Node::of(cx))),
    },
];

/// The one node of the cluster, as it appears to clients.
struct Node {
    id: String,
    /// The address that the asking client came to: the one that it can reach.
    ip: String,
    port: u16,
    /// Largest descriptor version: it grows with every change of the slots.
    epoch: u64,
    applied: u64,
    /// Slots that are served here, in order, neighbours joined.
    slots: Vec<SlotRange>,
}

impl Node {
    fn of(cx: &mut SessionCx<'_>) -> Node {
        let context = cx.context();
        let local = cx.session().client.local;
        let descriptors = report::descriptors(context);
        Node {
            id: context.names.node.clone(),
            ip: local.ip().to_canonical().to_string(),
            port: local.port(),
            epoch: descriptors.iter().map(|descriptor| descriptor.epoch.version).max().unwrap_or(0),
            applied: report::raft(context).applied,
            slots: join(descriptors.iter().map(|descriptor| descriptor.slots).collect()),
        }
    }

    fn assigned(&self) -> u32 {
        self.slots.iter().map(|range| u32::from(range.end.saturating_sub(range.start))).sum()
    }
}

/// Sorts ranges and joins those that touch.
fn join(mut ranges: Vec<SlotRange>) -> Vec<SlotRange> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<SlotRange> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end == range.start => last.end = range.end,
            _ => joined.push(range),
        }
    }
    joined
}

fn info(node: &Node) -> String {
    let assigned = node.assigned();
    let state = if assigned == u32::from(SLOTS) { "ok" } else { "fail" };
    let epoch = node.epoch;
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\ncluster_slots_ok:{assigned}\r\n\
         cluster_slots_pfail:0\r\ncluster_slots_fail:0\r\ncluster_known_nodes:1\r\ncluster_size:1\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\ncluster_stats_messages_sent:0\r\n\
         cluster_stats_messages_received:0\r\ntotal_cluster_links_buffer_limit_exceeded:0\r\n"
    )
}

/// The bus port is 0: there is no gossip bus.
fn nodes(node: &Node) -> String {
    let ranges = node.slots.iter().map(|range| match range.end.saturating_sub(1) {
        last if last == range.start => format!(" {last}"),
        last => format!(" {}-{last}", range.start),
    });
    let ranges: String = ranges.collect();
    format!(
        "{} {}:{}@0 myself,master - 0 0 {} connected{ranges}\n",
        node.id, node.ip, node.port, node.epoch
    )
}

fn number(value: impl Into<i64>) -> Reply {
    Reply::Integer(value.into())
}

fn slots(node: &Node) -> Reply {
    let entry = |range: &SlotRange| {
        let place = vec![
            Reply::bulk(node.ip.clone()),
            number(node.port),
            Reply::bulk(node.id.clone()),
            Reply::Array(Vec::new()),
        ];
        Reply::Array(vec![
            number(range.start),
            number(range.end.saturating_sub(1)),
            Reply::Array(place),
        ])
    };
    Reply::Array(node.slots.iter().map(entry).collect())
}

fn shards(node: &Node) -> Reply {
    let ranges = node
        .slots
        .iter()
        .flat_map(|range| [number(range.start), number(range.end.saturating_sub(1))]);
    let fields = vec![
        (Reply::bulk("id"), Reply::bulk(node.id.clone())),
        (Reply::bulk("port"), number(node.port)),
        (Reply::bulk("ip"), Reply::bulk(node.ip.clone())),
        (Reply::bulk("endpoint"), Reply::bulk(node.ip.clone())),
        (Reply::bulk("role"), Reply::bulk("master")),
        (Reply::bulk("replication-offset"), Reply::count(node.applied)),
        (Reply::bulk("health"), Reply::bulk("online")),
    ];
    Reply::Array(vec![Reply::Map(vec![
        (Reply::bulk("slots"), Reply::Array(ranges.collect())),
        (Reply::bulk("nodes"), Reply::Array(vec![Reply::Map(fields)])),
    ])])
}

/// The slot in an argument; `None` if there is no such slot.
fn slot(arg: &[u8]) -> Result<Option<u16>, CommandError> {
    Ok(u16::try_from(args::integer(arg)?).ok().filter(|slot| *slot < SLOTS))
}

fn count_keys_in_slot(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    let slot =
        slot(args::get(args, 2)?)?.ok_or_else(|| CommandError::custom("ERR Invalid slot"))?;
    let mut count = 0_u64;
    each_key(&cx.context().engine, slot, |_| {
        count = count.saturating_add(1);
        Ok(true)
    })?;
    Ok(Reply::count(count))
}

fn get_keys_in_slot(cx: &mut SessionCx<'_>, args: &Args) -> Outcome {
    let slot = slot(args::get(args, 2)?)?;
    let wanted = usize::try_from(args::integer(args::get(args, 3)?)?).ok();
    let (Some(slot), Some(wanted)) = (slot, wanted) else {
        return Err(CommandError::custom("ERR Invalid slot or number of keys"));
    };
    let most = u64::try_from(cx.context().limits.output).unwrap_or(u64::MAX);
    let (mut keys, mut tally) = (Vec::new(), Tally::new(most));
    if wanted > 0 {
        each_key(&cx.context().engine, slot, |key| {
            tally.add(key.len())?;
            keys.push(Reply::Bulk(key));
            Ok(keys.len() < wanted)
        })?;
    }
    Ok(Reply::Array(keys))
}

/// Calls `visit` with the keys of a slot by name, until it returns false. Like DBSIZE this includes
/// keys whose time is over but which the cleaner has not removed.
fn each_key(
    engine: &Engine,
    slot: u16,
    mut visit: impl FnMut(Bytes) -> Result<bool, CommandError>,
) -> Result<(), CommandError> {
    let range = KeyRange::prefix(&metadata_slot_prefix(slot, NAMESPACE));
    // A slot may hold every key there is: this thread's other connections go on elsewhere
    // meanwhile.
    tokio::task::block_in_place(|| {
        let mut cursor = engine.cursor(Family::Metadata, range, Direction::Forward)?;
        while let Some((row, _)) = cursor.next()? {
            if !visit(UserKey::decode_metadata(row)?.key)? {
                break;
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;
    use neokv_resp::Protocol;

    use super::*;

    fn node(ranges: &[(u16, u16)]) -> Node {
        Node {
            id: "c1c17f85da05c5393df415b6b78c584712292a15".to_owned(),
            ip: "127.0.0.1".to_owned(),
            port: 26380,
            epoch: 1,
            applied: 9,
            slots: join(
                ranges.iter().map(|(start, end)| SlotRange { start: *start, end: *end }).collect(),
            ),
        }
    }

    fn wire(reply: &Reply) -> String {
        let mut out = BytesMut::new();
        reply.write(Protocol::Resp2, &mut out);
        String::from_utf8(out.to_vec()).expect("ASCII")
    }

    #[test]
    fn one_node_serves_all_slots() {
        let node = node(&[(0, 16384)]);
        assert!(info(&node).starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n"));
        assert_eq!(
            nodes(&node),
            "c1c17f85da05c5393df415b6b78c584712292a15 127.0.0.1:26380@0 myself,master - 0 0 1 connected 0-16383\n"
        );
        assert_eq!(
            wire(&slots(&node)),
            "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:26380\r\n$40\r\n\
             c1c17f85da05c5393df415b6b78c584712292a15\r\n*0\r\n"
        );
    }

    #[test]
    fn a_missing_region_is_a_failed_cluster() {
        let node = node(&[(200, 300), (0, 100), (100, 200), (400, 401)]);
        assert!(info(&node).starts_with("cluster_state:fail\r\ncluster_slots_assigned:301\r\n"));
        assert!(nodes(&node).ends_with(" connected 0-299 400\n"));
    }

    #[test]
    fn shards_name_the_slots_and_the_node() {
        let text = wire(&shards(&node(&[(0, 16384)])));
        assert!(
            text.starts_with(
                "*1\r\n*4\r\n$5\r\nslots\r\n*2\r\n:0\r\n:16383\r\n$5\r\nnodes\r\n*1\r\n*14\r\n"
            ),
            "{text}"
        );
        assert!(text.ends_with("$6\r\nhealth\r\n$6\r\nonline\r\n"), "{text}");
    }

    #[test]
    fn slots_in_arguments() {
        assert!(matches!(slot(b"0"), Ok(Some(0))));
        assert!(matches!(slot(b"16383"), Ok(Some(16383))));
        assert!(matches!(slot(b"16384"), Ok(None)));
        assert!(matches!(slot(b"-1"), Ok(None)));
        assert!(matches!(slot(b"x"), Err(CommandError::NotInteger)));
    }
}
