//! What a sender exports, and how fast.

use std::num::NonZeroU64;

use futures_util::future::BoxFuture;
use neokv_encoding::snapshot::Manifest;
use neokv_engine::transfer::Pace;
use parking_lot::Mutex;

use super::*;
use crate::snapshot::send::{SendError, SendLimits, send};
use crate::snapshot::source::{FileSink, SnapshotData};
use crate::transport::link::{Ends, Link};
use crate::transport::{Message, MessageKind, Transport};
use crate::types::Vote;

/// Another store that takes every snapshot, or refuses it.
struct Other {
    takes: bool,
}

impl Transport for Other {
    fn call(&self, store: u64, message: Message) -> BoxFuture<'static, Answer> {
        let answer = match message.kind {
            MessageKind::SnapshotOffer if !self.takes => {
                Err(TransportError::Refused { store, why: "it has no place".to_owned() })
            }
            MessageKind::SnapshotOffer => Ok(Writer::new().u64(1).finish()),
            MessageKind::SnapshotChunk => Ok(Writer::new().finish()),
            MessageKind::SnapshotEnd => Ok(Writer::new().vote(&vote()).finish()),
            other => panic!("{other:?}"),
        };
        Box::pin(async { answer })
    }
}

type Answer = Result<Bytes, TransportError>;

fn vote() -> Vote {
    crate::types::vote_in(neokv_encoding::raft::Vote::default())
}

/// A Region that remembers the pace of each of its exports, before and after it.
struct Watched {
    region: RegionSource<Nothing>,
    exports: Mutex<Vec<[String; 2]>>,
}

impl Source for Watched {
    fn descriptor(&self) -> Result<Vec<u8>, StoreError> {
        self.region.descriptor()
    }

    fn export(
        &self,
        dir: &Path,
        pace: &Arc<Pace>,
        sink: &mut FileSink<'_>,
    ) -> Result<Manifest, StoreError> {
        let before = format!("{pace:?}");
        let exported = self.region.export(dir, pace, sink);
        self.exports.lock().push([before, format!("{pace:?}")]);
        exported
    }
}

/// Sends a Region with some rows to another store: how that ended, and the paces of the exports.
async fn send_to(
    other: Other,
    bytes_per_second: Option<NonZeroU64>,
) -> (Result<Vote, SendError>, Vec<[String; 2]>) {
    let dir = tempfile::tempdir().unwrap();
    let engine = store(dir.path(), 50, SlotRange::ALL);
    put_rows(&engine, b"new");
    let mut config = Config::new(1, dir.path().join("snapshots"));
    config.snapshot_bytes_per_second = bytes_per_second;
    let limits = SendLimits::new(&config);
    let ends = Ends { region: 1, from: 1, to: 2, store: 2 };
    let link = Link::new(Arc::new(other), Arc::new(config), ends);
    let region = RegionSource { engine, machine: Arc::new(Nothing), region: 1 };
    let source = Arc::new(Watched { region, exports: Mutex::default() });
    let data = SnapshotData::Here(Arc::clone(&source) as _);
    let sent = send(&link, &limits, vote(), data, Duration::from_secs(60)).await;
    let exports = source.exports.lock().clone();
    (sent, exports)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_exported_for_a_store_that_refuses_the_offer() {
    let (sent, exports) = send_to(Other { takes: false }, None).await;
    let error = sent.unwrap_err();
    assert!(matches!(error, SendError::Transport(TransportError::Refused { .. })), "{error}");
    assert!(exports.is_empty(), "{exports:?}");
    let (sent, exports) = send_to(Other { takes: true }, None).await;
    sent.unwrap();
    assert_eq!(exports.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_keeps_to_the_rate_of_the_settings() {
    let rate = NonZeroU64::new(1 << 30);
    let (sent, exports) = send_to(Other { takes: true }, rate).await;
    sent.unwrap();
    let [before, after] = &exports[0];
    assert!(before.contains(&format!("rate: {rate:?}")), "{before}");
    assert_ne!(before, after, "what was exported was taken from it");
    let (sent, exports) = send_to(Other { takes: true }, None).await;
    sent.unwrap();
    assert!(exports[0][0].contains("rate: None"), "{exports:?}");
}
