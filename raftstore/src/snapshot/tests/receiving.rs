//! Snapshots that arrive: offers, chunks, their ends, and places that become free.

use super::*;

fn receiver(dir: &Path, idle_timeout: Duration) -> Arc<Receiver> {
    let mut config = Config::new(1, dir);
    config.snapshots_received = 2;
    config.snapshot_idle_timeout = idle_timeout;
    Arc::new(Receiver::new(&config))
}

fn offer(receiver: &Receiver, region: u64) -> Result<u64, TransportError> {
    let descriptor: Descriptor = testing::descriptor(region, SlotRange::ALL);
    let body = Writer::new().bytes(&descriptor.encode()).finish();
    let answer = receiver.offer(region, body, |_| Ok(()))?;
    Reader::new(answer)?.u64()
}

#[tokio::test(start_paused = true)]
async fn a_transfer_that_stops_gives_up_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = receiver(dir.path(), Duration::from_secs(60));
    let first = offer(&receiver, 1).unwrap();
    offer(&receiver, 2).unwrap();
    let busy = offer(&receiver, 3).unwrap_err();
    assert!(matches!(busy, TransportError::Refused { .. }), "both places are taken: {busy}");
    tokio::time::advance(Duration::from_secs(50)).await;
    let chunk = Writer::new().u64(first).u32(0).u64(0).bytes(b"moves").finish();
    receiver.chunk(1, chunk).await.unwrap();
    assert!(offer(&receiver, 3).is_err());
    tokio::time::advance(Duration::from_secs(20)).await;
    offer(&receiver, 3).expect("the second has not moved for more than a minute");
    assert!(offer(&receiver, 4).is_err(), "the first has");
    tokio::time::advance(Duration::from_secs(61)).await;
    receiver.drop_stuck();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing of them is left");
}

#[tokio::test]
async fn a_snapshot_whose_numbers_none_can_follow_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = store(&dir.path().join("source"), 50, SlotRange::ALL);
    let sent = package(&engine, &dir.path().join("out")).manifest.clone();
    let receiver = receiver(&dir.path().join("in"), Duration::from_secs(60));
    let garbled = |error: TransportError| matches!(error, TransportError::Garbled(_));
    let mut descriptor = sent.descriptor.clone();
    descriptor.epoch.version = u64::MAX;
    let body = Writer::new().bytes(&descriptor.encode()).finish();
    assert!(receiver.offer(1, body, |_| Ok(())).is_err_and(garbled));
    let session = offer(&receiver, 1).unwrap();
    let mut manifest = sent.clone();
    manifest.applied.log_id = Some(LogId { term: 1, index: u64::MAX });
    let vote = crate::types::vote_in(neokv_encoding::raft::Vote::default());
    let end = Writer::new().u64(session).vote(&vote).bytes(&manifest.encode()).finish();
    assert!(receiver.end(1, end).await.is_err_and(garbled));
    let mut manifest = sent;
    manifest.applied.clock = u64::MAX - 1;
    let end = Writer::new().u64(session).vote(&vote).bytes(&manifest.encode()).finish();
    assert!(receiver.end(1, end).await.is_err_and(garbled));
}

#[tokio::test]
async fn chunks_out_of_order_end_the_transfer() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = receiver(dir.path(), Duration::from_secs(60));
    for (file, offset) in [(1, 0), (0, 1), (7, 0)] {
        let session = offer(&receiver, 1).unwrap();
        let chunk = Writer::new().u64(session).u32(file).u64(offset).bytes(b"x").finish();
        let refused = receiver.chunk(1, chunk.clone()).await.unwrap_err();
        assert!(refused.to_string().contains("out of order"), "{refused}");
        assert!(receiver.chunk(1, chunk).await.is_err(), "the transfer is over");
    }
}

/// Sends a package to a receiver that has given it a session. `change` is done to the bytes of
/// each file before.
async fn send_package(
    receiver: &Arc<Receiver>,
    session: u64,
    package: &Package,
    change: impl Fn(u32, &mut Vec<u8>),
) -> Result<Arrived, TransportError> {
    for (number, file) in (0u32..).zip(files(package.dir.path(), &package.manifest)) {
        let mut content = fs::read(&file.path).unwrap();
        change(number, &mut content);
        let chunk = Writer::new().u64(session).u32(number).u64(0).bytes(&content).finish();
        receiver.chunk(1, chunk).await.unwrap();
    }
    let vote = crate::types::vote_in(neokv_encoding::raft::Vote::default());
    let manifest = package.manifest.encode();
    let end = Writer::new().u64(session).vote(&vote).bytes(&manifest).finish();
    receiver.end(1, end).await
}

#[tokio::test]
async fn only_what_arrives_as_it_was_sent_is_taken() {
    let dir = tempfile::tempdir().unwrap();
    let engine = store(&dir.path().join("source"), 50, SlotRange::ALL);
    put_rows(&engine, b"new");
    let package = package(&engine, &dir.path().join("out"));
    let receiver = receiver(&dir.path().join("in"), Duration::from_secs(60));
    for flipped in [false, true] {
        let session = offer(&receiver, 1).unwrap();
        let damage = |number, content: &mut Vec<u8>| {
            if flipped && number == 1 {
                content[7] ^= 1;
            }
        };
        let arrived = send_package(&receiver, session, &package, damage).await;
        assert_eq!(arrived.is_err(), flipped, "{:?}", arrived.err());
        if let Ok(arrived) = arrived {
            assert!(offer(&receiver, 1).is_err(), "it is being installed, and keeps its place");
            drop(arrived);
        }
    }
}

#[tokio::test]
async fn an_install_does_not_sum_again_what_was_summed_when_it_arrived() {
    let dir = tempfile::tempdir().unwrap();
    let source = store(&dir.path().join("source"), 50, SlotRange::ALL);
    // Many blocks: the engine looks at the first and the last row of a file.
    let user = UserKey::new(0, Bytes::from_static(b"new"));
    let keys: Vec<Vec<u8>> =
        (0..1000u16).map(|field| user.subkey(1, &field.to_be_bytes())).collect();
    let mut random = SplitMix64::new(1);
    let mut batch = source.log_batch();
    for key in &keys {
        let value: Vec<u8> = (0..128).flat_map(|_| random.next_u64().to_be_bytes()).collect();
        batch.put(Family::Subkey, key, value);
    }
    source.write_log(batch, Durability::Synced).unwrap();
    let target = store(&dir.path().join("target"), 9, SlotRange::ALL);
    let passing = dir.path().join("target/snapshots");
    let package = package(&source, &passing);
    let receiver = receiver(&passing, Duration::from_secs(60));
    let session = offer(&receiver, 1).unwrap();
    let arrived = send_package(&receiver, session, &package, |_, _| {}).await.unwrap();
    let file = files(arrived.package.dir.path(), &arrived.package.manifest).remove(0);
    let mut bytes = fs::read(&file.path).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file.path, &bytes).unwrap();
    let applier = testing::applier(&target, 1);
    install(&target, passing, arrived.package, &applier).unwrap();
    assert_eq!(records::applied(&target, 1).unwrap().unwrap().clock, 50);
    let damaged = keys.iter().filter(|key| target.get(Family::Subkey, key).is_err()).count();
    assert!((1..1000).contains(&damaged), "who reads the rows finds it: {damaged}");
}

#[tokio::test]
async fn what_a_late_message_names_is_no_longer_taken_out_of_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = receiver(dir.path(), Duration::from_secs(60));
    // The Region's next leader offers while the end of its former one's transfer is on its way.
    let old = offer(&receiver, 1).unwrap();
    let new = offer(&receiver, 1).unwrap();
    assert!(receiver.take_out(1, old).is_err());
    let chunk = |session| Writer::new().u64(session).u32(0).u64(0).bytes(b"x").finish();
    receiver.chunk(1, chunk(new)).await.expect("the new transfer goes on");
    // Its end has come. A chunk that fails only now does not free the place.
    let installing = receiver.take_out(1, new).unwrap();
    assert!(receiver.chunk(1, chunk(new)).await.is_err());
    assert!(receiver.take_out(1, new).is_err());
    assert!(offer(&receiver, 1).is_err(), "it is being installed");
    drop(installing);
    offer(&receiver, 1).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_end_beside_the_next_offer_leaves_every_place_usable() {
    let dir = tempfile::tempdir().unwrap();
    let engine = store(&dir.path().join("source"), 50, SlotRange::ALL);
    let mut manifest = package(&engine, &dir.path().join("out")).manifest.clone();
    manifest.files.clear();
    let vote = crate::types::vote_in(neokv_encoding::raft::Vote::default());
    let receiver = receiver(&dir.path().join("in"), Duration::from_secs(60));
    for round in 0..RACES {
        let session = offer(&receiver, 1).expect("the place of the last round is free");
        let end = Writer::new().u64(session).vote(&vote).bytes(&manifest.encode()).finish();
        let barrier = Arc::new(Barrier::new(2));
        let offering = std::thread::spawn({
            let (receiver, barrier) = (Arc::clone(&receiver), Arc::clone(&barrier));
            move || {
                barrier.wait();
                // Meets the end a little later in each round.
                (0..round % 128).for_each(|_| std::hint::spin_loop());
                offer(&receiver, 1).map(drop)
            }
        });
        barrier.wait();
        let ended = receiver.end(1, end).await;
        let offered = offering.join().unwrap();
        assert!(ended.is_ok() || offered.is_ok(), "one of them has the place");
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_removed_when_the_places_are_no_longer_locked() {
    let dir = tempfile::tempdir().unwrap();
    let receiver = receiver(dir.path(), Duration::from_secs(60));
    let on_disk = || fs::read_dir(dir.path()).unwrap().count();
    let first = offer(&receiver, 1).unwrap();
    tokio::time::advance(Duration::from_secs(61)).await;
    // An offer that ends a transfer which does not move, and one of its own Region.
    let second = receiver.new_place(2).unwrap();
    let ended = receiver.take_place(2, second).unwrap();
    assert_eq!((ended.len(), on_disk()), (1, 2), "it is out of its place, and still there");
    assert!(receiver.take_out(1, first).is_err());
    drop(ended);
    assert_eq!(on_disk(), 1);
    let again = receiver.new_place(2).unwrap();
    let ended = receiver.take_place(2, again).unwrap();
    assert_eq!((ended.len(), on_disk()), (1, 2));
    drop(ended);
    tokio::time::advance(Duration::from_secs(61)).await;
    let stuck = receiver.take_stuck();
    assert_eq!((stuck.len(), on_disk()), (1, 1));
    drop(stuck);
    assert_eq!(on_disk(), 0);
}
