//! Receiving a snapshot; the messages are those of [`mod@super::send`].
//!
//! One transfer per Region: a new offer ends the one before it. Chunks must come in order; anything
//! else ends the transfer, and the sender, told that the store is unreachable, begins again after a
//! pause. Nothing of a transfer touches the Region until its last byte is summed and synced.
//!
//! A store receives a few snapshots at a time. A transfer holds its place until it is installed, or
//! until it has not moved for a while: a sender that died must not hold it for ever.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use neokv_encoding::region::Descriptor;
use neokv_encoding::snapshot::Manifest;
use parking_lot::Mutex;
use tokio::time::Instant;

use super::dir::{Dir, Package, file_path, sync_dir};
use crate::blocking::blocking;
use crate::config::Config;
use crate::transport::TransportError;
use crate::transport::wire::{Reader, Writer};
use crate::types::{Origin, Vote};

/// The receiving end of a store.
pub(crate) struct Receiver {
    store: u64,
    dir: PathBuf,
    places: usize,
    stuck_after: Duration,
    next: AtomicU64,
    /// Messages of all Regions need this lock, on threads that must not wait for the disk. So a
    /// place that holds files is only moved while it is locked; it is dropped, and its files are
    /// removed, after that.
    places_taken: Mutex<Places>,
}

/// The places that are taken, by Region.
type Places = BTreeMap<u64, Place>;

/// What one Region's transfer holds.
pub(super) struct Place {
    session: u64,
    last_progress: Instant,
    /// `None`: all has arrived, and is being installed.
    transfer: Option<Arc<Mutex<Transfer>>>,
}

impl Place {
    /// Whether it may be given to another transfer.
    fn is_stuck(&self, limit: Duration) -> bool {
        self.transfer.is_some() && self.last_progress.elapsed() >= limit
    }
}

/// The place of a snapshot that is being installed. Given up when dropped.
pub(crate) struct HeldPlace {
    receiver: Arc<Receiver>,
    region: u64,
    session: u64,
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        self.receiver.give_up(self.region, self.session);
    }
}

/// A transfer under way.
pub(super) struct Transfer {
    dir: Dir,
    /// Size and checksum of the files that have arrived, and of the one that is arriving.
    files: Vec<FileDigest>,
    /// The file that is arriving: the last of `files`.
    open: Option<File>,
}

/// Bytes so far, and their CRC-32C.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct FileDigest {
    bytes: u64,
    checksum: u32,
}

/// A snapshot that has arrived.
pub(crate) struct Arrived {
    /// The vote of its sender.
    pub(crate) vote: Vote,
    pub(crate) package: Package,
    pub(crate) place: HeldPlace,
}

impl Receiver {
    /// Receives into directories below that of the settings.
    pub(crate) fn new(config: &Config) -> Receiver {
        Receiver {
            store: config.store_id,
            dir: config.snapshot_dir.clone(),
            places: config.snapshots_received.max(1),
            stuck_after: config.snapshot_idle_timeout,
            next: AtomicU64::new(1),
            places_taken: Mutex::default(),
        }
    }

    /// Another store offers a snapshot of a Region. `fits` says whether the Region may have that
    /// shape here. Blocks on disk.
    pub(crate) fn offer(
        &self,
        region: u64,
        body: Bytes,
        fits: impl FnOnce(&Descriptor) -> Result<(), String>,
    ) -> Result<Bytes, TransportError> {
        let mut from = Reader::new(body)?;
        let offered = Descriptor::decode(&from.bytes()?);
        from.finish()?;
        let offered = offered.and_then(|offered| Origin::Peer.descriptor(offered));
        let offered = offered.map_err(|error| TransportError::Garbled(error.to_string()))?;
        if offered.id != region {
            return Err(TransportError::Garbled("snapshot of another region".into()));
        }
        fits(&offered).map_err(|why| self.refused(&why))?;
        // A directory costs a little, so whoever would be refused is told before there is one.
        self.refuse_without_room(&self.places_taken.lock(), region)?;
        let place = self.new_place(region)?;
        let session = place.session;
        // Removes the files of the transfers that it ends.
        drop(self.take_place(region, place)?);
        Ok(Writer::new().u64(session).finish())
    }

    /// A place for a transfer that begins, with an empty directory.
    pub(super) fn new_place(&self, region: u64) -> Result<Place, TransportError> {
        let dir = Dir::create(&self.dir, "in", region).map_err(|error| self.refused(&error))?;
        let session = self.next.fetch_add(1, Ordering::Relaxed);
        let transfer = Arc::new(Mutex::new(Transfer { dir, files: Vec::new(), open: None }));
        Ok(Place { session, last_progress: Instant::now(), transfer: Some(transfer) })
    }

    /// Whether a transfer for this Region may have a place.
    fn refuse_without_room(&self, places: &Places, region: u64) -> Result<(), TransportError> {
        if places.get(&region).is_some_and(|place| place.transfer.is_none()) {
            return Err(self.refused(&"it is installing an earlier snapshot"));
        }
        let stay = |(other, place): &(&u64, &Place)| {
            **other != region && !place.is_stuck(self.stuck_after)
        };
        if places.iter().filter(stay).count() >= self.places {
            return Err(self.refused(&"it receives enough snapshots already"));
        }
        Ok(())
    }

    /// Gives a Region's transfer a place, if there is one. Returns the transfers that it ends,
    /// whose files are removed when they are dropped. (A transfer that is refused is dropped after
    /// the lock, too: an argument outlives the locals.)
    pub(super) fn take_place(
        &self,
        region: u64,
        place: Place,
    ) -> Result<Vec<Place>, TransportError> {
        let mut places = self.places_taken.lock();
        self.refuse_without_room(&places, region)?;
        let mut ended: Vec<Place> = places.insert(region, place).into_iter().collect();
        ended.extend(take_stuck(&mut places, self.stuck_after));
        Ok(ended)
    }

    /// A piece of a file.
    pub(crate) async fn chunk(
        self: &Arc<Self>,
        region: u64,
        body: Bytes,
    ) -> Result<Bytes, TransportError> {
        let mut from = Reader::new(body)?;
        let (session, number, offset) = (from.u64()?, from.u32()?, from.u64()?);
        let bytes = from.bytes()?;
        from.finish()?;
        let transfer = self.transfer(region, session)?;
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let written = blocking(move || transfer.lock().write(number, offset, &bytes)).await;
        let written = written.map_err(|error| error.to_string()).and_then(|written| written);
        if let Err(why) = written {
            let receiver = Arc::clone(self);
            // Removes what has arrived.
            let _ = blocking(move || drop(receiver.take_out(region, session))).await;
            return Err(self.refused(&why));
        }
        Ok(Writer::new().finish())
    }

    /// All pieces have been sent: takes the transfer out, checked and synced. Its place is held
    /// until the result is dropped.
    pub(crate) async fn end(
        self: &Arc<Self>,
        region: u64,
        body: Bytes,
    ) -> Result<Arrived, TransportError> {
        let mut from = Reader::new(body)?;
        let (session, vote, manifest) = (from.u64()?, from.vote()?, from.bytes()?);
        from.finish()?;
        let manifest = Manifest::decode(&manifest).and_then(|sent| Origin::Peer.manifest(sent));
        let manifest = manifest.map_err(|error| TransportError::Garbled(error.to_string()))?;
        if manifest.descriptor.id != region {
            return Err(TransportError::Garbled("snapshot of another region".into()));
        }
        let (transfer, place) = self.take_out(region, session)?;
        let transfer = Arc::into_inner(transfer).map(Mutex::into_inner);
        let transfer = transfer.ok_or_else(|| self.refused(&"a chunk is still being written"))?;
        let package = blocking(move || transfer.finish(manifest)).await;
        let package = package.map_err(|error| self.refused(&error))?;
        let package = package.map_err(|error| self.refused(&error))?;
        Ok(Arrived { vote, package, place })
    }

    /// Ends the transfer to a replica that was removed. Blocks on disk.
    pub(crate) fn end_transfer(&self, region: u64) {
        let ended = {
            let mut places = self.places_taken.lock();
            // One that is being installed is given up by who installs it.
            let arrives = places.get(&region).is_some_and(|place| place.transfer.is_some());
            arrives.then(|| places.remove(&region))
        };
        drop(ended);
    }

    /// The place of a transfer that was taken out of it is free.
    fn give_up(&self, region: u64, session: u64) {
        let mut places = self.places_taken.lock();
        if places.get(&region).is_some_and(|place| place.session == session) {
            places.remove(&region);
        }
    }

    /// Takes out the transfers that do not move. Called once in a while; dropping them blocks on
    /// disk.
    pub(super) fn take_stuck(&self) -> Vec<Place> {
        take_stuck(&mut self.places_taken.lock(), self.stuck_after)
    }

    /// Gives up transfers that do not move. Called once in a while. Blocks on disk.
    pub(crate) fn drop_stuck(&self) {
        drop(self.take_stuck());
    }

    /// A transfer that goes on.
    fn transfer(&self, region: u64, session: u64) -> Result<Arc<Mutex<Transfer>>, TransportError> {
        self.in_place(region, session, |place| {
            place.last_progress = Instant::now();
            place.transfer.clone()
        })
    }

    /// Takes a transfer out of its place, which stays taken until the second value is dropped.
    pub(super) fn take_out(
        self: &Arc<Self>,
        region: u64,
        session: u64,
    ) -> Result<(Arc<Mutex<Transfer>>, HeldPlace), TransportError> {
        let transfer = self.in_place(region, session, |place| place.transfer.take())?;
        Ok((transfer, HeldPlace { receiver: Arc::clone(self), region, session }))
    }

    /// Looks into the place of this session, if it has one still. Whatever is done there is done
    /// under the lock that the session was compared under: another store's offer may end this
    /// transfer at any moment and put its own into the place.
    fn in_place<T>(
        &self,
        region: u64,
        session: u64,
        look: impl FnOnce(&mut Place) -> Option<T>,
    ) -> Result<T, TransportError> {
        let mut places = self.places_taken.lock();
        let place = places.get_mut(&region).filter(|place| place.session == session);
        let none = || self.refused(&"there is no such transfer (any more)");
        place.and_then(look).ok_or_else(none)
    }

    fn refused(&self, why: &dyn ToString) -> TransportError {
        TransportError::Refused { store: self.store, why: why.to_string() }
    }
}

/// Takes out the places of transfers that have not moved for so long.
fn take_stuck(places: &mut Places, limit: Duration) -> Vec<Place> {
    let stuck = places.extract_if(.., |region, place| {
        let stuck = place.is_stuck(limit);
        if stuck {
            tracing::warn!(region, "a snapshot stopped arriving: given up");
        }
        stuck
    });
    stuck.map(|(_, place)| place).collect()
}

impl Transfer {
    /// Writes the next chunk.
    fn write(&mut self, number: usize, offset: u64, bytes: &[u8]) -> Result<(), String> {
        if number == self.files.len() {
            self.close()?;
            let path = file_path(self.dir.path(), number);
            let file =
                File::create(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            self.open = Some(file);
            self.files.push(FileDigest::default());
        }
        let is_last = number + 1 == self.files.len();
        let (Some(file), Some(sum), true) = (&mut self.open, self.files.last_mut(), is_last) else {
            return Err(format!("a chunk of file {number} is out of order"));
        };
        if sum.bytes != offset {
            return Err(format!("chunk at {offset} of file {number} is out of order"));
        }
        file.write_all(bytes).map_err(|error| error.to_string())?;
        sum.bytes += bytes.len() as u64;
        sum.checksum = crc32c::crc32c_append(sum.checksum, bytes);
        Ok(())
    }

    /// Makes the open file durable.
    fn close(&mut self) -> Result<(), String> {
        match self.open.take() {
            Some(file) => file.sync_all().map_err(|error| error.to_string()),
            None => Ok(()),
        }
    }

    /// All files are there and whole, and durable.
    fn finish(mut self, manifest: Manifest) -> Result<Package, String> {
        self.close()?;
        let sent = |file: &neokv_encoding::snapshot::File| FileDigest {
            bytes: file.size,
            checksum: file.checksum,
        };
        let sent: Vec<FileDigest> = manifest.files.iter().map(sent).collect();
        if self.files != sent {
            return Err("files did not arrive as they were sent".into());
        }
        sync_dir(self.dir.path()).map_err(|error| error.to_string())?;
        Ok(Package { manifest, dir: self.dir })
    }
}
