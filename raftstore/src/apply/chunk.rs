//! Committed entries of one Region on their way through its apply thread.

use std::io;
use std::sync::Arc;
use std::time::Instant;
use std::vec;

use neokv_engine::Engine;
use openraft::storage::ApplyResponder;
use tokio::sync::oneshot;

use super::applier::{Applier, Staged, change_of};
use super::pool::{Job, NotWritten, Part};
use crate::machine::{ApplyError, StateMachine};
use crate::metrics;
use crate::panics::catch;
use crate::types::{Answer, Entry, TypeConfig};

/// Where a chunk's end is waited for.
pub(crate) type ChunkEnd = oneshot::Receiver<Result<(), io::Error>>;

/// See the module. It is carried out in steps, see [`Job`]: each prepares a write and publishes it
/// when it is made.
pub(crate) struct Chunk<M: StateMachine> {
    applier: Arc<Applier<M>>,
    entries: Vec<Entry>,
    /// How many of them are applied.
    applied: usize,
    /// Who is told the answers, those that were told taken out.
    responders: vec::IntoIter<Option<ApplyResponder<TypeConfig>>>,
    /// Prepared and not written.
    staged: Option<Staged<M::Pending>>,
    /// Written and not told.
    answers: Vec<Answer>,
    /// Taken when the chunk has ended.
    end: Option<oneshot::Sender<Result<(), io::Error>>>,
}

impl<M: StateMachine> Chunk<M> {
    /// A chunk, and where its end is waited for. Each entry has a responder or `None`.
    pub(crate) fn new(
        applier: Arc<Applier<M>>,
        entries: Vec<Entry>,
        responders: Vec<Option<ApplyResponder<TypeConfig>>>,
    ) -> (Chunk<M>, ChunkEnd) {
        let (end, wait) = oneshot::channel();
        let responders = responders.into_iter();
        let chunk = Chunk {
            applier,
            entries,
            applied: 0,
            responders,
            staged: None,
            answers: Vec::new(),
            end: Some(end),
        };
        (chunk, wait)
    }

    fn rest(&self) -> &[Entry] {
        self.entries.get(self.applied..).unwrap_or_default()
    }

    /// Prepares the next write. Entries that change the Region come with a write of their own and
    /// are applied on the way.
    fn next<'e>(&mut self, engine: &'e Engine) -> Result<Option<Part<'e>>, ApplyError> {
        while let Some(entry) = self.rest().first() {
            let Some(change) = change_of(entry) else {
                let (batch, staged) = self.applier.stage(engine, self.rest())?;
                let (entries, bytes) = (staged.entries(), staged.bytes);
                self.staged = Some(staged);
                return Ok(Some(Part { batch, entries, bytes }));
            };
            self.answers = vec![self.applier.change(entry, &change)?];
            self.tell();
        }
        self.finish(Ok(()));
        Ok(None)
    }

    /// Publishes what was written; what was not for want of space is written again, alone, until
    /// there is some.
    fn publish(
        &mut self,
        engine: &Engine,
        written: &Result<(), NotWritten>,
    ) -> Result<(), ApplyError> {
        let Some(staged) = self.staged.take() else { return Ok(()) };
        let staged = match written {
            Ok(()) => staged,
            Err(NotWritten::Full) => self.write_alone(engine)?,
            Err(NotWritten::Failed(why)) => return Err(ApplyError::NotWritten(why.clone())),
        };
        self.answers = self.applier.written(staged);
        Ok(())
    }

    /// Nothing of a failed write is kept: the entries are applied to the same state once more.
    fn write_alone(&self, engine: &Engine) -> Result<Staged<M::Pending>, ApplyError> {
        self.applier.until_space(|| {
            let began = Instant::now();
            let (batch, staged) = self.applier.stage(engine, self.rest())?;
            engine.write_behind(vec![batch])?;
            metrics::applied(began.elapsed(), staged.entries());
            Ok(staged)
        })
    }

    /// Tells the answers of the next entries, and the end behind the last one.
    fn tell(&mut self) {
        self.applied += self.answers.len();
        for answer in self.answers.drain(..) {
            if let Some(responder) = self.responders.next().flatten() {
                responder.send(answer);
            }
        }
        if self.rest().is_empty() {
            self.finish(Ok(()));
        }
    }

    /// Runs a step; its failure or panic ends the chunk and stops the Region: this replica cannot
    /// go on without differing from the others.
    fn run<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T, ApplyError>) -> Option<T> {
        let failure = match catch(|| step(self)) {
            Ok(Ok(done)) => return Some(done),
            Ok(Err(error)) => format!("apply failed: {error}"),
            Err(panic) => {
                metrics::panicked();
                format!("apply panicked, which is a defect of the program: {panic}")
            }
        };
        // Before the responders that are left are dropped: their callers must find the cause.
        self.applier.stop(&failure);
        self.responders = Vec::new().into_iter();
        self.staged = None;
        self.finish(Err(io::Error::other(failure)));
        None
    }

    fn finish(&mut self, outcome: Result<(), io::Error>) {
        if let Some(end) = self.end.take() {
            // Nobody waits any more when the Region is ending.
            let _ = end.send(outcome);
        }
    }
}

impl<M: StateMachine> Job for Chunk<M> {
    fn stage<'e>(&mut self, engine: &'e Engine) -> Option<Part<'e>> {
        self.run(|chunk| chunk.next(engine)).flatten()
    }

    fn written(&mut self, engine: &Engine, outcome: &Result<(), NotWritten>) {
        self.run(|chunk| chunk.publish(engine, outcome));
    }

    fn answer(&mut self) {
        self.run(|chunk| {
            chunk.tell();
            Ok(())
        });
    }

    fn is_over(&self) -> bool {
        self.end.is_none()
    }
}
