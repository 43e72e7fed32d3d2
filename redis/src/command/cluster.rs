//! CLUSTER: the slots and who serves them, in the words of Redis Cluster.
//!
//! The answers come from the [`Topology`](crate::topology::Topology), not from a constant: a
//! standalone node is a cluster of one that serves the slots of its Regions, and a Region that is
//! missing shows. COUNTKEYSINSLOT and GETKEYSINSLOT read keys and run where the slot is served.
//!
//! Subcommands that change a cluster by hand (MEET, ADDSLOTS, FAILOVER, …) do not exist: who serves
//! what is the scheduler's decision, and a client that expects otherwise should be told at once.

use bytes::Bytes;
use neokv_encoding::family::Family;
use neokv_encoding::key::{UserKey, metadata_slot_prefix};
use neokv_encoding::slot::{SLOTS, SlotRange, slot_of};
use neokv_engine::{Direction, KeyRange};
use neokv_resp::{Reply, parse_integer};

use super::container::subcommand_help;
use super::declare::{SessionCx, commands};
use super::{Args, Command, CommandResult, args};
use crate::error::CommandError;
use crate::keyspace::View;
use crate::number;
use crate::topology::{NodeInfo, RegionInfo};

/// CLUSTER.
pub const COMMANDS: &[Command] = commands! { Cluster;
    "cluster", -2, Container, [], "3.0.0", "Depends on subcommand.",
        "A container for cluster commands",
        subcommands: commands! { Cluster;
            "cluster|countkeysinslot", 3, Read(count_keys_in_slot, Latest), [Stale], "3.0.0",
                "O(N) where N is the number of keys in the slot.",
                "Return the number of local keys in the specified hash slot",
                scope: Some(Slot(slot_argument)),
                arguments: &[integer("slot")],
                help: &["COUNTKEYSINSLOT <slot>", "    Return the number of keys in <slot>."];
            "cluster|getkeysinslot", 4, Read(get_keys_in_slot, Budgeted), [Stale], "3.0.0",
                "O(log(N)) where N is the number of requested keys",
                "Return local key names in the specified hash slot",
                scope: Some(Slot(slot_argument)),
                arguments: &[integer("slot"), integer("count")],
                tips: &["nondeterministic_output"],
                help: &[
                    "GETKEYSINSLOT <slot> <count>",
                    "    Return key names stored by current node in a slot.",
                ];
            "cluster|help", 2, Session(subcommand_help), [Loading Stale], "5.0.0", "O(1)",
                "Show helpful text about the different subcommands";
            "cluster|info", 2, Session(info), [Stale], "3.0.0", "O(1)",
                "Provides info about Redis Cluster node state",
                tips: &["nondeterministic_output"],
                help: &["INFO", "    Return information about the cluster."];
            "cluster|keyslot", 3, Session(key_slot), [Stale], "3.0.0",
                "O(N) where N is the number of bytes in the key",
                "Returns the hash slot of the specified key",
                arguments: &[string("key")],
                help: &["KEYSLOT <key>", "    Return the hash slot for <key>."];
            "cluster|links", 2, Session(links), [Stale], "7.0.0",
                "O(N) where N is the total number of Cluster nodes",
                "Returns a list of all TCP links to and from peer nodes in cluster",
                tips: &["nondeterministic_output"],
                help: &[
                    "LINKS",
                    "    Return the network links between this node and its peers: none, they \
                     belong to Raft.",
                ];
            "cluster|myid", 2, Session(my_id), [Stale], "3.0.0", "O(1)",
                "Return the node id",
                help: &["MYID", "    Return the node id."];
            "cluster|nodes", 2, Session(nodes), [Stale], "3.0.0",
                "O(N) where N is the total number of Cluster nodes",
                "Get Cluster config for the node",
                tips: &["nondeterministic_output"],
                help: &[
                    "NODES",
                    "    Return cluster configuration seen by node. Output format:",
                    "    <id> <ip:port@bus-port> <flags> <master> <pings> <pongs> <epoch> <link> \
                     <slot> ...",
                ];
            "cluster|shards", 2, Session(shards), [Stale], "7.0.0",
                "O(N) where N is the total number of cluster nodes",
                "Get array of cluster slots to node mappings",
                tips: &["nondeterministic_output"],
                help: &[
                    "SHARDS",
                    "    Return information about slot range mappings and the nodes associated \
                     with them.",
                ];
            "cluster|slots", 2, Session(slots), [Stale], "3.0.0",
                "O(N) where N is the total number of Cluster nodes",
                "Get array of Cluster slot to node mappings",
                history: &[
                    ("4.0.0", "Added node IDs."),
                    ("7.0.0", "Added additional networking metadata field."),
                ],
                deprecated: Some(("7.0.0", "`CLUSTER SHARDS`")),
                tips: &["nondeterministic_output"],
                help: &[
                    "SLOTS",
                    "    Return information about slots range mappings. Each range is made of:",
                    "    start, end, master and replicas IP addresses, ports and ids",
                ];
        };
};

/// The cluster as it appears to one client.
struct ClusterView {
    nodes: Vec<NodeView>,
    /// Largest descriptor version: it grows with every change of the slots.
    epoch: u64,
    /// Slots that some Region has, led or not.
    assigned: u32,
}

/// One node, with what it serves.
struct NodeView {
    id: String,
    ip: String,
    port: u16,
    is_here: bool,
    applied: u64,
    /// Slots that it leads, in order, neighbours joined.
    slots: Vec<SlotRange>,
}

impl ClusterView {
    fn of(cx: &SessionCx<'_>) -> ClusterView {
        let (topology, local) = (cx.host.topology(), cx.session.client.local);
        ClusterView::new(
            &topology.regions(),
            topology.nodes(),
            (local.ip().to_canonical().to_string(), local.port()),
        )
    }

    /// The view of a client that came to the address `here`, which is therefore one that it can
    /// reach.
    fn new(regions: &[RegionInfo], nodes: Vec<NodeInfo>, here: (String, u16)) -> ClusterView {
        let led_by = |store| {
            let led = regions.iter().filter(move |region| region.leader == Some(store));
            join(led.map(|region| region.slots).collect())
        };
        let nodes = nodes.into_iter().map(|NodeInfo { store, id, address, applied }| {
            let is_here = address.is_none();
            let (ip, port) = address.unwrap_or_else(|| here.clone());
            NodeView { id, ip, port, is_here, applied, slots: led_by(store) }
        });
        ClusterView {
            nodes: nodes.collect(),
            epoch: regions.iter().map(|region| region.epoch.version).max().unwrap_or(0),
            assigned: regions.iter().map(|region| u32::from(region.slots.len())).sum(),
        }
    }

    /// The nodes that serve any slot.
    fn serving(&self) -> impl Iterator<Item = &NodeView> {
        self.nodes.iter().filter(|node| !node.slots.is_empty())
    }
}

/// Sorts ranges, leaves out empty ones, which have no last slot, and joins those that touch.
fn join(mut ranges: Vec<SlotRange>) -> Vec<SlotRange> {
    ranges.retain(|range| !range.is_empty());
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

fn info(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(Reply::Verbatim("txt", info_text(&ClusterView::of(cx)).into()))
}

fn info_text(cluster: &ClusterView) -> String {
    let served: u32 = cluster.serving().flat_map(|node| &node.slots).map(slot_count).sum();
    let state = if served == u32::from(SLOTS) { "ok" } else { "fail" };
    let (assigned, epoch) = (cluster.assigned, cluster.epoch);
    let failed = assigned - served;
    let (known, size) = (cluster.nodes.len(), cluster.serving().count());
    format!(
        "cluster_state:{state}\r\ncluster_slots_assigned:{assigned}\r\n\
         cluster_slots_ok:{served}\r\ncluster_slots_pfail:0\r\ncluster_slots_fail:{failed}\r\n\
         cluster_known_nodes:{known}\r\ncluster_size:{size}\r\n\
         cluster_current_epoch:{epoch}\r\ncluster_my_epoch:{epoch}\r\n\
         cluster_stats_messages_sent:0\r\ncluster_stats_messages_received:0\r\n\
         total_cluster_links_buffer_limit_exceeded:0\r\n"
    )
}

fn slot_count(range: &SlotRange) -> u32 {
    u32::from(range.len())
}

fn nodes(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(Reply::Verbatim("txt", nodes_text(&ClusterView::of(cx)).into()))
}

/// The bus port is 0: there is no gossip bus.
fn nodes_text(cluster: &ClusterView) -> String {
    let line = |node: &NodeView| {
        let ranges = node.slots.iter().map(|range| match range.end - 1 {
            last if last == range.start => format!(" {last}"),
            last => format!(" {}-{last}", range.start),
        });
        let flags = if node.is_here { "myself,master" } else { "master" };
        format!(
            "{} {}:{}@0 {flags} - 0 0 {} connected{}\n",
            node.id,
            node.ip,
            node.port,
            cluster.epoch,
            ranges.collect::<String>()
        )
    };
    cluster.nodes.iter().map(line).collect()
}

fn links(_: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(Reply::Array(Vec::new()))
}

fn my_id(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(Reply::bulk(cx.host.identity().node.clone()))
}

fn key_slot(_: &mut SessionCx<'_>, args: &Args) -> CommandResult {
    Ok(integer(slot_of(args::get(args, 2)?)))
}

fn integer(value: impl Into<i64>) -> Reply {
    Reply::Integer(value.into())
}

fn slots(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(slots_reply(&ClusterView::of(cx)))
}

fn slots_reply(cluster: &ClusterView) -> Reply {
    let mut entries: Vec<(SlotRange, &NodeView)> = cluster
        .serving()
        .flat_map(|node| node.slots.iter().map(move |range| (*range, node)))
        .collect();
    entries.sort_by_key(|(range, _)| range.start);
    let entry = |(range, node): (SlotRange, &NodeView)| {
        let address = vec![
            Reply::bulk(node.ip.clone()),
            integer(node.port),
            Reply::bulk(node.id.clone()),
            Reply::Array(Vec::new()),
        ];
        Reply::Array(vec![integer(range.start), integer(range.end - 1), Reply::Array(address)])
    };
    Reply::Array(entries.into_iter().map(entry).collect())
}

fn shards(cx: &mut SessionCx<'_>, _: &Args) -> CommandResult {
    Ok(shards_reply(&ClusterView::of(cx)))
}

/// Each node that serves slots is a shard of its own.
fn shards_reply(cluster: &ClusterView) -> Reply {
    let shard = |node: &NodeView| {
        let ranges =
            node.slots.iter().flat_map(|range| [integer(range.start), integer(range.end - 1)]);
        let fields = vec![
            (Reply::bulk("id"), Reply::bulk(node.id.clone())),
            (Reply::bulk("port"), integer(node.port)),
            (Reply::bulk("ip"), Reply::bulk(node.ip.clone())),
            (Reply::bulk("endpoint"), Reply::bulk(node.ip.clone())),
            (Reply::bulk("role"), Reply::bulk("master")),
            (Reply::bulk("replication-offset"), Reply::count(node.applied)),
            (Reply::bulk("health"), Reply::bulk("online")),
        ];
        Reply::Map(vec![
            (Reply::bulk("slots"), Reply::Array(ranges.collect())),
            (Reply::bulk("nodes"), Reply::Array(vec![Reply::Map(fields)])),
        ])
    };
    Reply::Array(cluster.serving().map(shard).collect())
}

/// The slot that COUNTKEYSINSLOT and GETKEYSINSLOT name, if there is such a slot.
fn slot_argument(args: &Args) -> Option<u16> {
    let slot = u16::try_from(parse_integer(args.get(2)?)?).ok()?;
    (slot < SLOTS).then_some(slot)
}

fn count_keys_in_slot(view: &View<'_>, args: &Args) -> CommandResult {
    number::integer(args::get(args, 2)?)?;
    let slot = slot_argument(args).ok_or_else(|| CommandError::custom("ERR Invalid slot"))?;
    Ok(Reply::count(view.slot_keys(slot)?))
}

fn get_keys_in_slot(view: &View<'_>, args: &Args) -> CommandResult {
    number::integer(args::get(args, 2)?)?;
    let wanted = usize::try_from(number::integer(args::get(args, 3)?)?).ok();
    let (Some(slot), Some(wanted)) = (slot_argument(args), wanted) else {
        return Err(CommandError::custom("ERR Invalid slot or number of keys"));
    };
    let (mut keys, mut limit) = (Vec::new(), view.reply_limit());
    if wanted > 0 {
        each_key(view, slot, |key| {
            limit.add(key.len())?;
            keys.push(Reply::Bulk(key));
            Ok(keys.len() < wanted)
        })?;
    }
    Ok(Reply::Array(keys))
}

/// Calls `visit` with the keys of a slot by name, until it returns false. Like DBSIZE this includes
/// keys that have expired but which the cleaner has not removed.
fn each_key(
    view: &View<'_>,
    slot: u16,
    mut visit: impl FnMut(Bytes) -> Result<bool, CommandError>,
) -> Result<(), CommandError> {
    let range = KeyRange::prefix(&metadata_slot_prefix(slot, view.namespace()));
    let mut cursor = view.read().cursor(Family::Metadata, range, Direction::Forward)?;
    while let Some((row, _)) = cursor.next()? {
        if !visit(UserKey::decode_metadata(row)?.key)? {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use neokv_encoding::region::Epoch;

    use super::*;
    use crate::testing::{wire, words};

    const ME: &str = "c1c17f85da05c5393df415b6b78c584712292a15";

    fn region(start: u16, end: u16, leader: Option<u64>) -> RegionInfo {
        RegionInfo {
            id: u64::from(start),
            slots: SlotRange { start, end },
            epoch: Epoch { version: 1, conf_ver: 1 },
            leader,
            is_led_here: leader == Some(1),
            is_here: true,
        }
    }

    fn node(store: u64, address: Option<(&str, u16)>) -> NodeInfo {
        NodeInfo {
            store,
            id: if store == 1 { ME.to_owned() } else { store.to_string().repeat(40) },
            address: address.map(|(ip, port)| (ip.to_owned(), port)),
            applied: 9,
        }
    }

    fn cluster(regions: &[RegionInfo], nodes: Vec<NodeInfo>) -> ClusterView {
        ClusterView::new(regions, nodes, ("127.0.0.1".to_owned(), 26380))
    }

    fn alone(ranges: &[(u16, u16)]) -> ClusterView {
        let regions: Vec<_> =
            ranges.iter().map(|(start, end)| region(*start, *end, Some(1))).collect();
        cluster(&regions, vec![node(1, None)])
    }

    #[test]
    fn one_node_serves_all_slots() {
        let cluster = alone(&[(0, 16384)]);
        assert!(
            info_text(&cluster).starts_with("cluster_state:ok\r\ncluster_slots_assigned:16384\r\n")
        );
        assert_eq!(
            nodes_text(&cluster),
            format!("{ME} 127.0.0.1:26380@0 myself,master - 0 0 1 connected 0-16383\n")
        );
        assert_eq!(
            wire(&slots_reply(&cluster)),
            format!(
                "*1\r\n*3\r\n:0\r\n:16383\r\n*4\r\n$9\r\n127.0.0.1\r\n:26380\r\n\
                 $40\r\n{ME}\r\n*0\r\n"
            )
        );
    }

    #[test]
    fn a_missing_region_is_a_failed_cluster() {
        let cluster = alone(&[(200, 300), (0, 100), (100, 200), (400, 401)]);
        let info = info_text(&cluster);
        assert!(info.starts_with("cluster_state:fail\r\ncluster_slots_assigned:301\r\n"), "{info}");
        assert!(nodes_text(&cluster).ends_with(" connected 0-299 400\n"));
    }

    #[test]
    fn a_region_without_slots_is_not_served() {
        let cluster = alone(&[(0, 0), (0, 16384)]);
        assert!(nodes_text(&cluster).ends_with(" connected 0-16383\n"));
        let joining = alone(&[(0, 0)]);
        assert!(nodes_text(&joining).ends_with(" connected\n"));
        assert_eq!(wire(&slots_reply(&joining)), "*0\r\n");
        assert_eq!(wire(&shards_reply(&joining)), "*0\r\n");
    }

    #[test]
    fn a_region_without_a_leader_is_assigned_and_not_served() {
        let regions = [region(0, 100, Some(1)), region(100, 16384, None)];
        let cluster = cluster(&regions, vec![node(1, None)]);
        let info = info_text(&cluster);
        assert!(
            info.starts_with("cluster_state:fail\r\ncluster_slots_assigned:16384\r\n"),
            "{info}"
        );
        assert!(info.contains("cluster_slots_ok:100\r\n"), "{info}");
        assert!(info.contains("cluster_slots_fail:16284\r\n"), "{info}");
    }

    #[test]
    fn several_nodes_serve_what_they_lead() {
        let regions =
            [region(0, 100, Some(2)), region(100, 300, Some(1)), region(300, 16384, Some(2))];
        let nodes =
            vec![node(1, None), node(2, Some(("10.0.0.2", 7000))), node(3, Some(("10.0.0.3", 7)))];
        let cluster = cluster(&regions, nodes);
        let text = nodes_text(&cluster);
        assert!(text.contains(" 127.0.0.1:26380@0 myself,master - 0 0 1 connected 100-299\n"));
        assert!(text.contains(" 10.0.0.2:7000@0 master - 0 0 1 connected 0-99 300-16383\n"));
        assert!(text.contains(" 10.0.0.3:7@0 master - 0 0 1 connected\n"));
        let slots = wire(&slots_reply(&cluster));
        assert!(slots.starts_with("*3\r\n*3\r\n:0\r\n:99\r\n*4\r\n$8\r\n10.0.0.2\r\n"), "{slots}");
        assert!(wire(&shards_reply(&cluster)).starts_with("*2\r\n"));
        assert!(info_text(&cluster).contains("cluster_known_nodes:3\r\ncluster_size:2\r\n"));
    }

    #[test]
    fn shards_name_the_slots_and_the_node() {
        let text = wire(&shards_reply(&alone(&[(0, 16384)])));
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
        let slot = |text: &str| slot_argument(&words(&format!("cluster countkeysinslot {text}")));
        assert_eq!((slot("0"), slot("16383")), (Some(0), Some(16383)));
        assert_eq!((slot("16384"), slot("-1"), slot("x")), (None, None, None));
    }
}
