//! Sending a snapshot, and receiving one.
//!
//! ```text
//!   SnapshotBegin   header (see `header`)                                  answer: session u64
//!   SnapshotChunk   session u64 · file u32 · offset u64 · bytes            answer: empty
//!   SnapshotEnd     session u64 · vote                                     answer: vote
//! ```
//!
//! One session per Region: a new `SnapshotBegin` ends the one before it. Pieces must come in order;
//! anything else ends the session, and the sender, told that the store is unreachable, begins again
//! after a pause. Nothing of a transfer touches the Region until its last byte is verified and
//! synced.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use openraft::storage::Snapshot;
use parking_lot::Mutex;

use super::header::Header;
use super::install::sync_dir;
use super::pack::{Dir, Package, file_path};
use crate::apply::SnapshotData;
use crate::error::StoreError;
use crate::machine::StateMachine;
use crate::metrics;
use crate::region::Region;
use crate::transport::endpoint::refused;
use crate::transport::network::Link;
use crate::transport::wire::{Reader, Writer};
use crate::transport::{Kind, Message, TransportError};
use crate::types::{SnapshotMeta, Vote, log_id_in, membership_in};

/// Snapshots that one store receives at the same time.
const RECEIVING: usize = 2;
/// Time for one piece to be written down at the other end.
const CHUNK_LIMIT: Duration = Duration::from_secs(30);

/// Why a snapshot was not sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    #[error(transparent)]
    Pack(#[from] StoreError),
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error("reading a packed file: {0}")]
    Io(#[from] std::io::Error),
}

/// Packs and sends a snapshot; returns the receiver's vote. `limit` is the time the other end has
/// for the install.
pub(crate) async fn send(
    link: Link,
    vote: Vote,
    data: SnapshotData,
    limit: Duration,
) -> Result<Vote, SendError> {
    let package = match data {
        SnapshotData::Here(source) => blocking(move || source.pack()).await??,
        SnapshotData::Received(package) => *package,
    };
    let answer = link.call(Kind::SnapshotBegin, package.header.encode(), CHUNK_LIMIT).await?;
    let session = Reader::new(answer)?.u64()?;
    for (number, file) in (0u32..).zip(&package.files) {
        send_file(&link, session, number, file.path.clone()).await?;
    }
    let end = Writer::new().u64(session).vote(&vote).finish();
    let answer = link.call(Kind::SnapshotEnd, end, limit).await?;
    metrics::snapshot_sent();
    let region = package.header.region;
    tracing::info!(region, files = package.files.len(), "snapshot sent");
    Ok(Reader::new(answer)?.vote()?)
}

async fn send_file(link: &Link, session: u64, number: u32, path: PathBuf) -> Result<(), SendError> {
    let mut file = blocking(move || File::open(path)).await??;
    let mut offset = 0u64;
    loop {
        let limit = link.snapshot_chunk() as u64;
        let (back, piece) = blocking(move || {
            let mut piece = Vec::new();
            Read::by_ref(&mut file).take(limit).read_to_end(&mut piece).map(|_| (file, piece))
        })
        .await??;
        file = back;
        if piece.is_empty() {
            return Ok(());
        }
        let body = Writer::new().u64(session).u32(number).u64(offset).bytes(&piece).finish();
        link.call(Kind::SnapshotChunk, body, CHUNK_LIMIT).await?;
        offset = offset.saturating_add(piece.len() as u64);
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SendError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| SendError::Io(error.into()))
}

/// The receiving end of a store.
pub(crate) struct Receiver {
    store: u64,
    dir: PathBuf,
    next: AtomicU64,
    sessions: Mutex<BTreeMap<u64, Arc<Mutex<Session>>>>,
}

/// A transfer under way.
struct Session {
    id: u64,
    header: Header,
    dir: Dir,
    /// The file being written: its number, itself, bytes so far.
    current: Option<(usize, File, u64)>,
}

impl Receiver {
    /// Receives into directories below `dir`.
    pub(crate) fn new(store: u64, dir: PathBuf) -> Receiver {
        Receiver { store, dir, next: AtomicU64::new(1), sessions: Mutex::default() }
    }

    /// Handles one message of a transfer.
    pub(crate) async fn receive<M: StateMachine>(
        self: Arc<Self>,
        region: &Region<M>,
        message: Message,
    ) -> Result<Bytes, TransportError> {
        let (store, id, body) = (self.store, region.id, message.body);
        let outcome = match message.kind {
            Kind::SnapshotBegin => tokio::task::spawn_blocking(move || self.begin(id, body)).await,
            Kind::SnapshotChunk => tokio::task::spawn_blocking(move || self.chunk(id, body)).await,
            _ => return self.end(region, body).await,
        };
        outcome.unwrap_or_else(|error| Err(refused(store, &error)))
    }

    fn begin(&self, region: u64, body: Bytes) -> Result<Bytes, TransportError> {
        let header = Header::decode(body)?;
        if header.region != region {
            return Err(TransportError::Garbled("snapshot of another region".into()));
        }
        let mut sessions = self.sessions.lock();
        sessions.remove(&region);
        if sessions.len() >= RECEIVING {
            return Err(refused(self.store, &"it receives enough snapshots already"));
        }
        let dir =
            Dir::create(&self.dir, "in", region).map_err(|error| refused(self.store, &error))?;
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        sessions.insert(region, Arc::new(Mutex::new(Session { id, header, dir, current: None })));
        Ok(Writer::new().u64(id).finish())
    }

    fn chunk(&self, region: u64, body: Bytes) -> Result<Bytes, TransportError> {
        let mut from = Reader::new(body)?;
        let (id, number, offset, piece) = (from.u64()?, from.u32()?, from.u64()?, from.bytes()?);
        from.finish()?;
        let session = self.session(region, id)?;
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let written = session.lock().write(number, offset, &piece);
        if let Err(why) = written {
            self.sessions.lock().remove(&region);
            return Err(refused(self.store, &why));
        }
        Ok(Writer::new().finish())
    }

    /// All pieces are there: the files go to Raft.
    async fn end<M: StateMachine>(
        &self,
        region: &Region<M>,
        body: Bytes,
    ) -> Result<Bytes, TransportError> {
        let mut from = Reader::new(body)?;
        let (id, vote) = (from.u64()?, from.vote()?);
        from.finish()?;
        let session = self.session(region.id, id)?;
        self.sessions.lock().remove(&region.id);
        let session = Arc::into_inner(session).map(Mutex::into_inner);
        let session =
            session.ok_or_else(|| refused(self.store, &"a piece is still being written"))?;
        let package = tokio::task::spawn_blocking(move || session.finish()).await;
        let package = package.map_err(|error| refused(self.store, &error))?;
        let package = package.map_err(|error| refused(self.store, &error))?;
        let meta = SnapshotMeta {
            last_log_id: package.header.applied.log_id.map(log_id_in),
            last_membership: membership_in(&package.header.applied.membership),
        };
        let snapshot = Snapshot { meta, snapshot: SnapshotData::Received(Box::new(package)) };
        let installed = region.raft.install_full_snapshot(vote, snapshot).await;
        let answer = installed.map_err(|error| refused(self.store, &error))?;
        Ok(Writer::new().vote(&answer.vote).finish())
    }

    fn session(&self, region: u64, id: u64) -> Result<Arc<Mutex<Session>>, TransportError> {
        let found =
            self.sessions.lock().get(&region).filter(|session| session.lock().id == id).cloned();
        found.ok_or_else(|| refused(self.store, &"there is no such transfer (any more)"))
    }
}

impl Session {
    /// Writes the next piece.
    fn write(&mut self, number: usize, offset: u64, piece: &[u8]) -> Result<(), String> {
        let info = *self.header.files.get(number).ok_or("there is no such file")?;
        if self.current.as_ref().is_none_or(|(open, ..)| *open != number) {
            self.close()?;
            let path = file_path(self.dir.path(), number);
            let file =
                File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            self.current = Some((number, file, 0));
        }
        let (_, file, written) = self.current.as_mut().ok_or("no file is open")?;
        let end = offset.saturating_add(piece.len() as u64);
        if *written != offset || end > info.bytes {
            return Err(format!("piece at {offset} of file {number} is out of order"));
        }
        file.write_all(piece).map_err(|error| error.to_string())?;
        *written = end;
        Ok(())
    }

    /// Makes the open file durable.
    fn close(&mut self) -> Result<(), String> {
        match self.current.take() {
            Some((_, file, _)) => file.sync_all().map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// All files are there and whole, and durable.
    fn finish(mut self) -> Result<Package, String> {
        self.close()?;
        let paths = self.header.files.iter().enumerate();
        let files: Vec<_> =
            paths.map(|(number, info)| info.at(&file_path(self.dir.path(), number))).collect();
        for file in &files {
            neokv_engine::transfer::verify(file).map_err(|error| error.to_string())?;
        }
        sync_dir(self.dir.path()).map_err(|error| error.to_string())?;
        Ok(Package { header: self.header, files, dir: self.dir })
    }
}
