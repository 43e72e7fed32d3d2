//! Sending a snapshot.
//!
//! ```text
//!   SnapshotOffer   descriptor (bytes)                                  answer: session u64
//!   SnapshotChunk   session u64 · file u32 · offset u64 · bytes         answer: empty
//!   SnapshotEnd     session u64 · vote · manifest (bytes)               answer: vote
//! ```
//!
//! The export runs on a thread that may block and stays one file ahead of what is being sent. If
//! the transfer ends early, for whatever reason, the export ends with it.

use std::fs::File;
use std::io::Read;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use neokv_encoding::snapshot::Manifest;
use neokv_engine::transfer::{Pace, RangeFile};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::dir::Dir;
use super::source::{SnapshotData, Source};
use crate::blocking::{DroppedInBackground, blocking};
use crate::config::{Config, Execution};
use crate::error::StoreError;
use crate::metrics;
use crate::transport::link::Link;
use crate::transport::wire::{Reader, Writer};
use crate::transport::{MessageKind, TransportError};
use crate::types::Vote;

/// Bounds on what a store sends.
pub(crate) struct SendLimits {
    places: Arc<Semaphore>,
    pace: Arc<Pace>,
}

impl SendLimits {
    /// The bounds of these settings.
    pub(crate) fn new(config: &Config) -> Arc<SendLimits> {
        Arc::new(SendLimits {
            places: Arc::new(Semaphore::new(config.snapshots_sent.max(1))),
            pace: pace(config.snapshot_bytes_per_second),
        })
    }
}

fn pace(bytes_per_second: Option<NonZeroU64>) -> Arc<Pace> {
    Arc::new(Pace::new(bytes_per_second))
}

/// Why a snapshot was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Export(#[from] StoreError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("reading an exported file: {0}")]
    Io(#[from] std::io::Error),
    #[error("a snapshot that was received is not sent on")]
    Received,
}

/// Offers, exports and sends a snapshot; returns the receiver's vote. `limit` is the time the other
/// end has for the install.
pub(crate) async fn send(
    link: &Link,
    limits: &SendLimits,
    vote: Vote,
    data: SnapshotData,
    limit: Duration,
) -> Result<Vote, SendError> {
    let SnapshotData::Here(source) = data else { return Err(SendError::Received) };
    // A place here, then one at the other end: nothing is built before both are there.
    let place = Arc::clone(&limits.places).acquire_owned().await.map_err(std::io::Error::other)?;
    let place = Arc::new(place);
    let offered = Arc::clone(&source);
    let descriptor = blocking(move || offered.descriptor()).await??;
    let offer = Writer::new().bytes(&descriptor).finish();
    let session = Reader::new(link.ask(MessageKind::SnapshotOffer, offer).await?)?.u64()?;
    let pace = Arc::clone(&limits.pace);
    let manifest = send_files(link, session, source, pace, Arc::clone(&place)).await?;
    let end = Writer::new().u64(session).vote(&vote).bytes(&manifest.encode()).finish();
    let answer = link.ask_within(MessageKind::SnapshotEnd, end, limit).await?;
    metrics::snapshot_sent();
    let region = manifest.descriptor.id;
    tracing::info!(region, files = manifest.files.len(), "snapshot sent");
    Ok(Reader::new(answer)?.vote()?)
}

/// Exports file by file and sends each while the next one is written. The export keeps the place
/// here, too: it may end a little after a transfer that was given up.
async fn send_files(
    link: &Link,
    session: u64,
    source: Arc<dyn Source>,
    pace: Arc<Pace>,
    place: Arc<OwnedSemaphorePermit>,
) -> Result<Manifest, SendError> {
    let parent = link.config().snapshot_dir.clone();
    let dir = Arc::new(blocking(move || Dir::create(&parent, "out", session)).await??);
    // Whoever has it last removes what is left in it. That must not be this task.
    let _held = DroppedInBackground::new(Arc::clone(&dir));
    let (finished, mut files) = mpsc::channel(files_ahead(link.config()));
    let exporting = tokio::spawn(blocking(move || {
        let _place = place;
        source.export(dir.path(), &pace, &mut |file| queue_file(&finished, file))
    }));
    let mut number = 0u32;
    while let Some(file) = files.recv().await {
        send_file(link, session, number, file).await?;
        number += 1;
    }
    // The channel is closed: the export has ended, with a manifest or an error.
    Ok(exporting.await.map_err(std::io::Error::from)???)
}

/// How many finished files may wait to be sent. Where everything runs on one thread the export
/// cannot wait, so there all of them may.
fn files_ahead(config: &Config) -> usize {
    match config.execution {
        Execution::Threads => 1,
        Execution::Stepped => 1 << 16,
    }
}

/// Gives a file to the sender; waits while there are enough before it.
fn queue_file(to: &mpsc::Sender<RangeFile>, file: RangeFile) -> Result<(), StoreError> {
    let sent = match to.try_send(file) {
        Err(TrySendError::Full(file)) => to.blocking_send(file).is_ok(),
        sent => sent.is_ok(),
    };
    let why = || "the transfer ended before the export".to_owned();
    if sent { Ok(()) } else { Err(StoreError::Snapshot { region: 0, why: why() }) }
}

/// Sends one file in chunks and deletes it.
async fn send_file(
    link: &Link,
    session: u64,
    number: u32,
    file: RangeFile,
) -> Result<(), SendError> {
    let path = file.path;
    let mut open = blocking({
        let path = path.clone();
        move || File::open(path)
    })
    .await??;
    let limit = u64::try_from(link.config().snapshot_chunk).unwrap_or(u64::MAX).max(1);
    let mut offset = 0;
    loop {
        let (back, chunk) = blocking(move || {
            let mut chunk = Vec::new();
            Read::by_ref(&mut open).take(limit).read_to_end(&mut chunk).map(|_| (open, chunk))
        })
        .await??;
        open = back;
        if chunk.is_empty() {
            break;
        }
        let body = Writer::new().u64(session).u32(number).u64(offset).bytes(&chunk).finish();
        link.ask(MessageKind::SnapshotChunk, body).await?;
        offset += chunk.len() as u64;
    }
    Ok(blocking(move || std::fs::remove_file(path)).await??)
}
