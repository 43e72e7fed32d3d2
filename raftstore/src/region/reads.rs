//! Reads of a Region: the permission, and the rows. [`crate::read`] tells why they are the latest.

use neokv_encoding::region::{Epoch, RegionState};
use neokv_engine::{BudgetedRead, Read, ReadBudget};

use super::Region;
use crate::error::ReadError;
use crate::machine::StateMachine;
use crate::read::ReadPoint;

impl<M: StateMachine> Region<M> {
    /// Permission to read now, without asking anybody: only where this replica is the one voter.
    /// `epoch` is that of the descriptor by which the caller routed.
    ///
    /// # Errors
    ///
    /// [`ReadError::NeedsQuorum`] where there are more voters: call
    /// [`read_index`](Self::read_index). [`ReadError::StaleEpoch`]: route again.
    pub fn read_now(&self, epoch: Epoch) -> Result<ReadPoint, ReadError> {
        let replaced = self.shape.replaced();
        if self.published.may_read_alone() {
            return self.point(epoch, replaced);
        }
        if self.published.serving() {
            return Err(ReadError::NeedsQuorum { region: self.id });
        }
        Err(self.not_serving().into())
    }

    /// Permission to read, confirmed by a majority where there is one. Concurrent calls share
    /// rounds.
    ///
    /// # Errors
    ///
    /// [`ReadError`]; all of them are harmless to retry.
    pub async fn read_index(&self, epoch: Epoch) -> Result<ReadPoint, ReadError> {
        let replaced = self.shape.replaced();
        match self.read_now(epoch) {
            Err(ReadError::NeedsQuorum { .. }) => {}
            settled => return settled,
        }
        // A round that ended because the replica leaves this store says nothing of the Region.
        self.reads.join().await.map_err(|error| match self.shape.is_removed() {
            true => self.not_serving().into(),
            false => error,
        })?;
        // Compared after the wait: what was committed before the read began is applied now, a split
        // or a merge included.
        self.point(epoch, replaced)
    }

    /// A permission, if the Region still is what the caller saw.
    fn point(&self, epoch: Epoch, replaced: u64) -> Result<ReadPoint, ReadError> {
        let descriptor = self.descriptor();
        if descriptor.epoch.version != epoch.version || descriptor.state != RegionState::Normal {
            return Err(ReadError::StaleEpoch { descriptor });
        }
        Ok(ReadPoint { descriptor, now_ms: self.now_ms(), replaced })
    }

    /// The time in the Region: by it, entries are stamped and expiry is decided. Milliseconds since
    /// 1970.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// The instant at which a read decides expiry that has fixed its state now: that of its
    /// permission, but not before the stamp of any entry whose rows it may see.
    fn instant(&self, point: &ReadPoint) -> u64 {
        point.now_ms.max(self.clock.stamped_ms())
    }

    /// Brings a permission's instant up to date, after a wait between it and the read. What is read
    /// is newer by then, so a key that had expired for a write in it must have expired for the
    /// read.
    pub fn renew(&self, point: &mut ReadPoint) {
        point.now_ms = point.now_ms.max(self.now_ms());
    }

    /// Reads the latest state: for a single look-up. `work` gets the instant at which it decides
    /// expiry, milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`ReadError::StaleEpoch`], [`ReadError::NotReady`]: the Region or its data changed
    /// meanwhile, and the result does not count.
    pub fn read_latest<T>(
        &self,
        point: &ReadPoint,
        work: impl FnOnce(&dyn Read, u64) -> T,
    ) -> Result<T, ReadError> {
        let result = work(&self.engine, self.instant(point));
        self.confirm(point).map(|()| result)
    }

    /// Reads one state: for several look-ups that must agree. `work` gets the instant at which it
    /// decides expiry, which fits that state, milliseconds since 1970.
    ///
    /// # Errors
    ///
    /// [`ReadError::StaleEpoch`], [`ReadError::NotReady`]: the Region or its data changed
    /// meanwhile, and the result does not count.
    pub fn read_snapshot<T>(
        &self,
        point: &ReadPoint,
        work: impl FnOnce(&dyn Read, u64) -> T,
    ) -> Result<T, ReadError> {
        let snapshot = self.engine.snapshot();
        let result = work(&snapshot, self.instant(point));
        self.confirm(point).map(|()| result)
    }

    /// Reads one state, what of it is in memory, within a budget: for threads that must not wait.
    /// `work` gets the instant at which it decides expiry. It fits that state: milliseconds since
    /// 1970.
    ///
    /// # Errors
    ///
    /// [`ReadError::StaleEpoch`], [`ReadError::NotReady`]: the Region or its data changed
    /// meanwhile, and the result does not count.
    pub fn read_budgeted<T>(
        &self,
        point: &ReadPoint,
        budget: ReadBudget,
        work: impl FnOnce(&BudgetedRead<'_>, u64) -> T,
    ) -> Result<T, ReadError> {
        let read = self.engine.budgeted_read(budget);
        let result = work(&read, self.instant(point));
        self.confirm(point).map(|()| result)
    }

    /// Neither the Region nor its data was exchanged since the permission was given, so what was
    /// read is the Region's.
    fn confirm(&self, point: &ReadPoint) -> Result<(), ReadError> {
        if !self.shape.has_version(point.descriptor.epoch.version) {
            return Err(ReadError::StaleEpoch { descriptor: self.descriptor() });
        }
        if self.shape.replaced() != point.replaced {
            let why = "its data was replaced while it was read";
            return Err(ReadError::NotReady { region: self.id, why });
        }
        Ok(())
    }
}
