//! One store, one Region, one replica: the standalone server's case.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use neokv_encoding::region::Epoch;
use neokv_raftstore::clock::TimeSource;
use neokv_raftstore::transport::NoPeers;
use neokv_raftstore::{Action, Clock, ProposeError, ReadError, Role, StoreError, SyncMode};

use crate::node::{Node, region_on, replies, write};
use crate::toy::{Command, Reply, is_filled, sum};

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_applied_before_it_is_answered_and_read_at_once() {
    let node = Node::alone(|_| {}).await;
    let region = node.region();
    let replies =
        node.write(&[Command::Add(1, 2), Command::Fail, Command::Add(1, 3)]).await.unwrap();
    assert_eq!(replies, [Reply::Sum(2), Reply::Error, Reply::Sum(5)]);
    let epoch = region.descriptor().epoch;
    let point = region.read_now(epoch).unwrap();
    assert_eq!(region.read_latest(&point, |rows, _| sum(rows, 1)), Ok(5));
    assert_eq!(region.read_snapshot(&point, |rows, _| sum(rows, 1)), Ok(5));
    assert!(point.now_ms >= region.status().applied_clock >> 16, "expiry is decided by one clock");
    assert!(region.read_index(epoch).await.is_ok(), "a lone voter needs no round");
    assert_eq!(node.write(&[]).await.unwrap(), []);
    node.check_memory();
    node.close().await;
}

/// A machine whose clock stands still.
struct Still(u64);

impl TimeSource for Still {
    fn wall_ms(&self) -> u64 {
        self.0
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_grows_by_every_command_even_when_time_stands_still() {
    let node = Node::alone(|config| config.clock = Clock::new(Still(1000))).await;
    assert_eq!(node.region().status().applied_clock, 0);
    node.write(&[Command::Add(1, 1), Command::Add(1, 1), Command::Fail]).await.unwrap();
    let after = node.region().status().applied_clock;
    assert_eq!(after, (1000 << 16) + 3);
    node.add(1, 1).await;
    assert_eq!(node.region().status().applied_clock, after + 1);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_submissions_share_entries_and_each_gets_its_own_replies() {
    let node = Arc::new(Node::alone(|_| {}).await);
    let clients = (0..64u8).map(|client| {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            for round in 1..=20u64 {
                let commands =
                    vec![Command::Add(client, 1), Command::Fail, Command::Add(client, 1)];
                let replies = node.write(&commands).await.unwrap();
                assert_eq!(
                    replies,
                    [Reply::Sum(2 * round - 1), Reply::Error, Reply::Sum(2 * round)]
                );
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    let entries = node.toy.applied.load(Ordering::Relaxed);
    assert!(entries < 64 * 20, "{entries} entries for {} submissions", 64 * 20);
    Arc::into_inner(node).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_and_solitary_commands_are_cut_and_stay_in_order() {
    let node = Node::alone(|config| {
        config.entry_commands = 10;
        config.entry_bytes = 1000;
    })
    .await;
    let mut commands: Vec<Command> = (0..25).map(|_| Command::Add(1, 1)).collect();
    commands.push(Command::Clear);
    commands.extend((0..3).map(|_| Command::Add(1, 10)));
    commands.push(Command::Pad(5000));
    commands.push(Command::Add(1, 10));
    let replies = node.write(&commands).await.unwrap();
    let mut expected: Vec<Reply> = (1..=25).map(Reply::Sum).collect();
    expected.push(Reply::Done);
    expected.extend([10, 20, 30].map(Reply::Sum));
    expected.push(Reply::Done);
    expected.push(Reply::Sum(40));
    assert_eq!(replies, expected);
    assert!(node.toy.largest.load(Ordering::Relaxed) <= 10);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_behind_one_that_did_much_go_back_to_their_caller() {
    let node = Node::alone(|_| {}).await;
    let region = node.region();
    let commands = vec![Command::Fail, Command::Much, Command::Pad(3), Command::Much];
    let progress = region.propose_some(region.descriptor().epoch, commands).await.unwrap();
    assert_eq!(replies(progress.done), [Reply::Error, Reply::Sum(1)]);
    assert_eq!(progress.rest, [Command::Pad(3), Command::Much]);
    assert_eq!(sum(&node.engine, 0), 1, "nothing of the rest has happened");
    let replies =
        write(&region, &[Command::Much, Command::Much, Command::Add(0, 5), Command::Much])
            .await
            .unwrap();
    assert_eq!(replies, [2, 3, 8, 9].map(Reply::Sum));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_was_left_out_of_an_entry_is_first_in_the_next() {
    let node = Arc::new(Node::alone(|_| {}).await);
    let clients = (1..=48u8).map(|client| {
        let node = Arc::clone(&node);
        tokio::spawn(async move {
            for round in 1..=10u64 {
                let commands = vec![
                    Command::Add(client, 1),
                    Command::Much,
                    Command::Much,
                    Command::Add(client, 1),
                ];
                let replies = node.write(&commands).await.unwrap();
                assert_eq!(
                    (&replies[0], &replies[3]),
                    (&Reply::Sum(2 * round - 1), &Reply::Sum(2 * round))
                );
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.unwrap();
    }
    assert_eq!(sum(&node.engine, 0), 48 * 10 * 2, "each once");
    Arc::into_inner(node).unwrap().close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_applies_nothing_twice_and_loses_nothing() {
    for sync in [SyncMode::Always, SyncMode::EverySecond, SyncMode::Never] {
        let mut node = Node::alone(|config| config.sync = sync).await;
        for round in 1..=3u64 {
            for number in 1..=10 {
                assert_eq!(node.add(1, 1).await, (round - 1) * 10 + number);
            }
            node = node.restart(|config| config.sync = sync).await;
            assert_eq!(sum(&node.engine, 1), round * 10, "{sync:?}");
            assert_eq!(
                node.toy.applied.load(Ordering::Relaxed),
                0,
                "nothing is applied again after a clean end"
            );
        }
        node.close().await;
    }
}

/// A machine whose clock is set to 10, and whose time the test lets pass.
#[derive(Clone, Default)]
struct SetBack(Arc<AtomicU64>);

impl TimeSource for SetBack {
    fn wall_ms(&self) -> u64 {
        10 + self.0.load(Ordering::SeqCst)
    }

    fn monotonic(&self) -> Duration {
        Duration::from_millis(self.0.load(Ordering::SeqCst))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_survives_a_restart_and_neither_goes_back_nor_stands_still() {
    let node = Node::alone(|config| config.clock = Clock::new(Still(5000))).await;
    node.add(1, 1).await;
    let before = node.region().status().applied_clock;
    let machine = SetBack::default();
    let source = machine.clone();
    let node = node.restart(move |config| config.clock = Clock::new(source)).await;
    assert_eq!(node.region().status().applied_clock, before);
    let now_ms = || node.region().read_now(node.region().descriptor().epoch).unwrap().now_ms;
    assert_eq!(now_ms(), 5000, "what had expired stays expired");
    node.add(1, 1).await;
    assert_eq!(node.region().status().applied_clock, before + 1);
    machine.0.store(1000, Ordering::SeqCst);
    assert_eq!(now_ms(), 5500, "what is to expire does, if slower");
    node.add(1, 1).await;
    assert_eq!(node.region().status().applied_clock >> 16, 5500);
    machine.0.store(100_000, Ordering::SeqCst);
    assert_eq!(now_ms(), 100_010, "the machine's clock has caught up");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_is_purged_by_bytes_and_by_entries_and_still_restarts() {
    let mut node = Node::alone(|_| {}).await;
    for _ in 0..60 {
        node.write(&[Command::Pad(100_000), Command::Add(1, 1)]).await.unwrap();
    }
    let held = node.region().status();
    assert!(held.log_bytes > 6_000_000 && held.log_entries >= 60, "{held:?}");
    assert!(!node.region().compact_log(u64::MAX, u64::MAX).await.unwrap());
    assert!(node.region().compact_log(4_000_000, u64::MAX).await.unwrap());
    let left = node.region().status();
    assert!((3_000_000..=4_000_000).contains(&left.log_bytes), "{}", left.log_bytes);

    node = node.restart(|_| {}).await;
    let again = node.region().status();
    assert_eq!(again.purged, left.purged, "the purge is on disk");
    assert!(
        again.log_bytes.abs_diff(left.log_bytes) < 300_000,
        "the meter counts again what is there"
    );

    assert!(node.region().compact_log(u64::MAX, 5).await.unwrap());
    let left = node.region().status();
    assert!(left.log_entries <= 5, "{} entries", left.log_entries);
    node = node.restart(|_| {}).await;
    assert_eq!(sum(&node.engine, 1), 60);
    assert_eq!(node.add(1, 1).await, 61);
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_decoded_stops_the_region_loudly() {
    let node = Node::alone(|_| {}).await;
    node.add(1, 7).await;
    let region = node.region();
    let error = write(&region, &[Command::Poison]).await.unwrap_err();
    assert!(matches!(error, ProposeError::Unknown { .. }), "{error}");
    let error = write(&region, &[Command::Add(1, 1)]).await.unwrap_err();
    assert!(
        matches!(&error, ProposeError::Stopped { why, .. } if why.contains("poison")),
        "{error}"
    );
    assert_eq!(error.action(), Action::Stop);
    assert!(matches!(
        region.read_now(Epoch { version: 1, conf_ver: 1 }),
        Err(ReadError::Stopped { .. })
    ));
    let status = region.status();
    assert_eq!((status.role, status.serving), (Role::Stopped, false));
    assert!(status.stopped.unwrap().contains("poison"));
    assert_eq!(sum(&node.engine, 1), 7, "what came before is kept");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_entry_before_a_poisoned_one_takes_effect() {
    let node = Node::alone(|_| {}).await;
    let region = node.region();
    let outcomes = tokio::join!(
        write(&region, &[Command::Add(1, 1)]),
        write(&region, &[Command::Add(2, 1), Command::Clear, Command::Poison]),
    );
    assert_eq!(outcomes.0.unwrap(), [Reply::Sum(1)]);
    assert!(matches!(outcomes.1, Err(ProposeError::Unknown { .. })));
    assert_eq!(
        (sum(&node.engine, 1), sum(&node.engine, 2)),
        (0, 0),
        "cleared by the entry before the poison"
    );
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_much_is_refused_and_changes_nothing() {
    let node = Node::alone(|config| {
        config.command_bytes = 1000;
        config.queue_commands = 10;
    })
    .await;
    let error = node.write(&[Command::Pad(1001)]).await.unwrap_err();
    assert_eq!(error, ProposeError::TooBig { bytes: 1001, limit: 1000 });
    assert_eq!(error.action(), Action::FixInput);
    let region = node.region();
    let many =
        futures_util::future::join_all((0..200).map(|_| write(&region, &[Command::Add(1, 1); 5])))
            .await;
    let done = many.iter().filter(|outcome| outcome.is_ok()).count();
    assert!(
        many.iter()
            .flat_map(|outcome| outcome.as_ref().err())
            .all(|e| matches!(e, ProposeError::Busy { .. }))
    );
    assert_eq!(sum(&node.engine, 1), 5 * done as u64, "exactly the accepted ones took effect");
    assert!((1..200).contains(&done), "{done} of 200 were accepted");
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_shutdown_everything_is_refused() {
    let node = Node::alone(|_| {}).await;
    let region = node.region();
    node.store.shutdown().await;
    assert!(matches!(write(&region, &[Command::Fail]).await, Err(ProposeError::Stopped { .. })));
    assert!(matches!(
        region.read_now(Epoch { version: 1, conf_ver: 1 }),
        Err(ReadError::Stopped { .. })
    ));
    assert!(node.store.region_of_slot(0).is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_in_flight_at_shutdown_are_answered_and_kept_or_unknown() {
    let node = Node::alone(|_| {}).await;
    let region = node.region();
    let clients: Vec<_> = (0..50)
        .map(|_| {
            let region = Arc::clone(&region);
            tokio::spawn(async move { write(&region, &[Command::Add(1, 1)]).await })
        })
        .collect();
    tokio::task::yield_now().await;
    let shutdown = node.store.shutdown();
    let (mut done, mut unknown) = (0, 0);
    let outcomes =
        futures_util::future::join(shutdown, futures_util::future::join_all(clients)).await.1;
    for outcome in outcomes {
        match outcome.unwrap() {
            Ok(_) => done += 1,
            Err(ProposeError::Unknown { .. }) => unknown += 1,
            Err(error) => assert!(matches!(error, ProposeError::Stopped { .. }), "{error}"),
        }
    }
    drop(region);
    let Node { dir, store, engine, .. } = node;
    drop((store, engine));
    let node = Node::open(dir, 1, Arc::new(NoPeers), |_| {}).await;
    node.region().wait_serving().await.unwrap();
    let kept = sum(&node.engine, 1);
    assert!(
        (done..=done + unknown).contains(&kept),
        "{done} acknowledged, {unknown} unknown, {kept} kept"
    );
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_slot_table_and_bootstrap() {
    let node = Node::alone(|_| {}).await;
    for slot in [0, 1, 8191, 16383] {
        assert_eq!(node.store.region_of_slot(slot).unwrap().id(), 1);
    }
    assert!(node.store.region_of_slot(16384).is_none());
    let mut again = region_on(&[1]);
    assert!(matches!(node.store.bootstrap(again.clone()).await, Err(StoreError::Create { .. })));
    again.id = 2;
    assert!(
        matches!(node.store.bootstrap(again).await, Err(StoreError::Create { .. })),
        "slots overlap"
    );
    let status = node.region().status();
    assert_eq!((status.role, status.leader, status.leader_store), (Role::Leader, Some(1), Some(1)));
    assert_eq!((status.voters, status.purged.unwrap().index), (vec![vec![1]], 5));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_in_every_family_are_one_write() {
    let node = Node::alone(|_| {}).await;
    node.write(&[Command::Fill(1, 9)]).await.unwrap();
    assert!(is_filled(&node.engine, 1, 9) && !is_filled(&node.engine, 1, 8));
    node.close().await;
}
