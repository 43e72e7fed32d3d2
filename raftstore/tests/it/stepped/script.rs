//! Golden scripts of clusters: `tests/scripts/cluster`.
//!
//! | command | does |
//! | --- | --- |
//! | `stores N` | opens stores 1 to N, each with a peer of Region 1 of the same id |
//! | `open STORE` | a store comes up; `quiet=MILLISECONDS` |
//! | `close STORE`, `crash STORE` | it ends, or is killed |
//! | `campaign STORE`, `heartbeat STORE` | its replica does what a timer makes it do elsewhere |
//! | `stabilize` | delivers messages until none waits |
//! | `waiting`, `deliver NUMBER…`, `drop NUMBER…` | messages one by one |
//! | `isolate STORE`, `heal` | its messages are dropped, or pass again |
//! | `pass MILLISECONDS` | time passes |
//! | `write STORE COMMAND…` | `add/KEY/N`, `fill/KEY/N`, `clear`; routed by the epoch there |
//! | `read STORE KEY` | confirmed by a majority |
//! | `bootstrap STORE PEER…` | Region 1 with these peers, each on the store of its number |
//! | `create STORE PEER`, `destroy STORE` | an empty replica comes, a replica goes |
//! | `learner STORE PEER@STORE` | the leader adds a learner |
//! | `voters STORE PEER…` | the leader makes these the voters |
//! | `forget STORE PEER…` | the leader removes these learners |
//! | `transfer STORE PEER` | the leader hands its leadership to this voter |
//! | `split STORE SLOT CHILD PEER…` | the leader splits its Region |
//! | `purge STORE` | the applied part of the log goes |
//! | `status` | where every replica stands |
//! | `compare` | that all members of a Region hold the same bytes |
//! | `rows` | how many rows of data each store holds, whichever Region owns them |
//!
//! All of them take `region=N`; those that name an epoch take `version=N` and `conf_ver=N` instead
//! of the one there. What takes messages is begun and gets a number; its outcome is printed at the
//! end of the block in which it is there.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use goldenscript::{ArgumentConsumer, Block, Context, Runner};
use neokv_encoding::raft::{Peer, PeerRole};
use neokv_encoding::region::{Descriptor, Epoch, ReplicaState};
use neokv_raftstore::{Done, Region, SplitPlan};
use test_each_file::test_each_path;
use tokio::runtime::Runtime;

use super::{Cluster, Delivered};
use crate::node::region_on;
use crate::toy::{Command, Reply, Toy, sum};

test_each_path! { in "raftstore/tests/scripts/cluster" => run }

fn run(path: &Path) {
    goldenscript::run(&mut Story::default(), path).unwrap();
}

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Something that was begun, and what came of it.
type Ongoing = (String, tokio::task::JoinHandle<String>);

struct Story {
    runtime: Runtime,
    cluster: Cluster,
    begun: usize,
    ongoing: Vec<Ongoing>,
}

impl Default for Story {
    fn default() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build()
            .unwrap();
        Story { runtime, cluster: Cluster::default(), begun: 0, ongoing: Vec::new() }
    }
}

impl Runner for Story {
    type Command = goldenscript::Command;

    fn run(&mut self, command: &Self::Command, _: &Context) -> Result<String> {
        let mut args = command.consume_args();
        let Story { runtime, cluster, begun, ongoing } = self;
        runtime.block_on(async {
            let mut out = String::new();
            let begin = act(cluster, &command.name, &mut args, &mut out).await?;
            args.reject_next()?;
            if let Some(begin) = begin {
                *begun += 1;
                let mut words = command.consume_args();
                let mut line = command.name.clone();
                while let Some(word) = words.next_pos() {
                    line = line + " " + word;
                }
                ongoing.push((format!("#{begun} {line}"), tokio::spawn(begin)));
            }
            cluster.settle().await;
            Ok(out)
        })
    }

    fn end_block(&mut self, _: &Block) -> Result<String> {
        Ok(report(&mut self.ongoing))
    }

    fn end_script(&mut self) -> Result<()> {
        let cluster = std::mem::take(&mut self.cluster);
        self.runtime.block_on(cluster.end());
        Ok(())
    }
}

/// Tells what has come to an end.
fn report(ongoing: &mut Vec<Ongoing>) -> String {
    let (over, waiting) = ongoing.drain(..).partition(|(_, task)| task.is_finished());
    *ongoing = waiting;
    let over: Vec<Ongoing> = over;
    let tell =
        |(what, task): Ongoing| format!("{what}: {}\n", task.now_or_never().unwrap().unwrap());
    over.into_iter().map(tell).collect()
}

/// Carries a command out, or returns what it begins.
async fn act(
    cluster: &mut Cluster,
    name: &str,
    args: &mut ArgumentConsumer<'_>,
    out: &mut String,
) -> Result<Option<BoxFuture<'static, String>>> {
    let region_id = parse(args.take_key("region"))?.unwrap_or(1);
    match name {
        "stores" => *cluster = Cluster::new(number(args)?).await,
        "open" => {
            let quiet =
                parse(args.take_key("quiet"))?.map_or(Duration::ZERO, Duration::from_millis);
            cluster.open_quiet(number(args)?, quiet).await;
        }
        "close" => cluster.close(number(args)?).await,
        "crash" => cluster.crash(number(args)?).await,
        "stabilize" => show(&cluster.stabilize().await, out),
        "waiting" => {
            for one in cluster.network.waiting() {
                writeln!(out, "{}: {}", one.number, one.message)?;
            }
        }
        "deliver" => {
            for wanted in numbers(args)? {
                let waiting = cluster.network.waiting();
                let found = waiting.into_iter().find(|one| one.number == wanted);
                let message = found.ok_or("no such message waits")?;
                show(&cluster.deliver(message).await.into_iter().collect::<Vec<_>>(), out);
            }
        }
        "drop" => {
            for one in numbers(args)? {
                cluster.network.drop_message(one);
            }
        }
        "isolate" => {
            let store = number(args)?;
            for other in cluster.nodes.keys().filter(|other| **other != store) {
                cluster.network.cut(store, *other);
                cluster.network.cut(*other, store);
            }
        }
        "heal" => cluster.network.heal(),
        "campaign" => replica(cluster, number(args)?, region_id)?.campaign().await?,
        "heartbeat" => replica(cluster, number(args)?, region_id)?.heartbeat().await?,
        "pass" => cluster.pass(Duration::from_millis(number(args)?)).await,
        "status" => status(cluster, out)?,
        "compare" => compare(cluster, out)?,
        "rows" => {
            for (store, node) in &cluster.nodes {
                writeln!(out, "store {store}: {} rows", node.count_rows())?;
            }
        }
        "create" => {
            let (store, peer) = (number(args)?, number(args)?);
            let created = cluster.node(store).store.create_empty(region_id, peer).await;
            out.push_str(&created.map_or_else(|error| format!("{error}\n"), |_| String::new()));
        }
        "destroy" => cluster.node(number(args)?).store.destroy(region_id).await?,
        "bootstrap" => {
            let (store, peers) = (number(args)?, numbers(args)?);
            cluster.node(store).store.bootstrap(region_on(&peers)).await?;
        }
        _ => return on_region(cluster, name, region_id, args),
    }
    Ok(None)
}

/// What is asked of one replica.
fn on_region(
    cluster: &Cluster,
    name: &str,
    region_id: u64,
    args: &mut ArgumentConsumer<'_>,
) -> Result<Option<BoxFuture<'static, String>>> {
    let region = replica(cluster, number(args)?, region_id)?;
    let mut epoch = region.descriptor().epoch;
    epoch.version = parse(args.take_key("version"))?.unwrap_or(epoch.version);
    epoch.conf_ver = parse(args.take_key("conf_ver"))?.unwrap_or(epoch.conf_ver);
    Ok(Some(match name {
        "purge" => async move { told(region.compact_log(0, 0).await) }.boxed(),
        "write" => {
            let mut commands = Vec::new();
            while let Some(text) = args.next_pos() {
                commands.push(command(text)?);
            }
            async move {
                match region.propose(epoch, commands).await {
                    Ok(done) => done.into_iter().map(outcome).collect::<Vec<_>>().join(", "),
                    Err(error) => error.to_string(),
                }
            }
            .boxed()
        }
        "read" => read(region, epoch, number(args)?).boxed(),
        "learner" => {
            let peer = peer(args.next_pos().ok_or("a peer is missing")?)?;
            async move { told(region.add_learner(epoch, peer).await) }.boxed()
        }
        "voters" => {
            let voters = numbers(args)?.into_iter().collect();
            async move { told(region.change_voters(epoch, voters).await) }.boxed()
        }
        "forget" => {
            let learners = numbers(args)?.into_iter().collect();
            async move { told(region.remove_learners(epoch, learners).await) }.boxed()
        }
        "transfer" => {
            let to = number(args)?;
            async move { told(region.transfer_leadership(to).await) }.boxed()
        }
        "split" => {
            let (slot, child) = (number(args)?, number(args)?);
            let plan = SplitPlan { slot, child, child_peers: numbers(args)? };
            async move { told(region.split(epoch, plan).await) }.boxed()
        }
        other => return Err(format!("no command {other}").into()),
    }))
}

fn replica(cluster: &Cluster, store: u64, region: u64) -> Result<Arc<Region<Toy>>> {
    cluster.region(store, region).ok_or_else(|| "the store has no replica of it".into())
}

async fn read(region: Arc<Region<Toy>>, epoch: Epoch, key: u8) -> String {
    let point = match region.read_index(epoch).await {
        Ok(point) => point,
        Err(error) => return error.to_string(),
    };
    match region.read_latest(&point, |rows, _| sum(rows, key)) {
        Ok(sum) => format!("key {key} is {sum}"),
        Err(error) => error.to_string(),
    }
}

fn told<T, E: ToString>(outcome: std::result::Result<T, E>) -> String {
    outcome.map_or_else(|error| error.to_string(), |_| "done".to_owned())
}

fn outcome(done: Done<Command, Reply>) -> String {
    match done {
        Done::Reply(Reply::Sum(sum)) => sum.to_string(),
        Done::Reply(other) => format!("{other:?}").to_lowercase(),
        Done::Misrouted { descriptor, .. } => {
            let Descriptor { id, slots, epoch, .. } = &*descriptor;
            format!("misrouted (region {id} has slots {slots} at epoch {epoch})")
        }
    }
}

fn show(delivered: &[Delivered], out: &mut String) {
    for Delivered { message, answer } in delivered {
        let refused = match answer {
            Ok(()) => String::new(),
            Err(error) => format!(" -- {error}"),
        };
        writeln!(out, "{}{refused}", message.message).unwrap();
    }
}

fn status(cluster: &Cluster, out: &mut String) -> Result<()> {
    for (store, node) in &cluster.nodes {
        for region in node.store.regions() {
            let status = region.status();
            let descriptor = &status.descriptor;
            let peers = descriptor.peers.iter().map(|peer| match peer.role {
                PeerRole::Voter => format!("{}@{}", peer.id, peer.store),
                PeerRole::Learner => format!("{}@{} learner", peer.id, peer.store),
            });
            let peers = peers.collect::<Vec<_>>().join(", ");
            let id = |id: Option<neokv_encoding::raft::LogId>| {
                id.map_or("-".to_owned(), |id| id.to_string())
            };
            writeln!(
                out,
                "store {store}: region {} peer {} {}{} in term {}, applied {}, purged {}; \
                 slots {}, epoch {}, {} of {peers}",
                region.id(),
                region.peer(),
                status.role.name(),
                if status.serving { ", serving" } else { "" },
                status.term,
                id(status.applied),
                id(status.purged),
                descriptor.slots,
                descriptor.epoch,
                status.replica.state.name(),
            )?;
        }
    }
    Ok(())
}

/// Says for every Region which stores hold it, and fails unless they hold the same.
fn compare(cluster: &Cluster, out: &mut String) -> Result<()> {
    let mut regions = std::collections::BTreeMap::new();
    for (store, node) in &cluster.nodes {
        node.check_memory();
        let regions_here = node.store.regions();
        let members =
            regions_here.iter().filter(|one| one.status().replica.state == ReplicaState::Member);
        for region in members {
            regions.entry(region.id()).or_insert_with(Vec::new).push(*store);
        }
    }
    for (region, stores) in regions {
        let contents: Vec<_> =
            stores.iter().map(|store| cluster.node(*store).contents(region)).collect();
        let rows = contents.first().map_or(0, Vec::len) - 2;
        if contents.windows(2).any(|pair| pair[0] != pair[1]) {
            return Err(format!("region {region} differs between stores {stores:?}").into());
        }
        writeln!(out, "region {region}: {rows} rows, the same on stores {stores:?}")?;
    }
    Ok(())
}

fn number<T: std::str::FromStr<Err: Error + 'static>>(
    args: &mut ArgumentConsumer<'_>,
) -> Result<T> {
    Ok(args.next_pos().ok_or("a number is missing")?.parse()?)
}

fn parse(text: Option<&str>) -> Result<Option<u64>> {
    Ok(text.map(str::parse).transpose()?)
}

fn numbers(args: &mut ArgumentConsumer<'_>) -> Result<Vec<u64>> {
    let mut numbers = Vec::new();
    while let Some(text) = args.next_pos() {
        numbers.push(text.parse()?);
    }
    Ok(numbers)
}

fn command(text: &str) -> Result<Command> {
    let parts: Vec<&str> = text.split('/').collect();
    Ok(match parts[..] {
        ["add", key, number] => Command::Add(key.parse()?, number.parse()?),
        ["fill", key, number] => Command::Fill(key.parse()?, number.parse()?),
        ["clear"] => Command::Clear,
        _ => return Err(format!("no write {text}").into()),
    })
}

fn peer(text: &str) -> Result<Peer> {
    let (id, store) = text.split_once('@').ok_or("PEER@STORE is missing")?;
    Ok(Peer { id: id.parse()?, store: store.parse()?, role: PeerRole::Learner })
}
