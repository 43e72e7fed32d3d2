//! One stream at the receiving end: calls come in, answers go out.
//!
//! It has no task of its own: the stream of answers takes the calls in while it is asked for
//! answers, so it ends with the connection, and a client that takes no answers sends no calls.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::stream::{self, FuturesUnordered, Stream};
use futures_util::{FutureExt, StreamExt};
use tokio::sync::watch;
use tonic::{Status, Streaming};

use super::frame;
use super::proto::{Answer, Answers, Call, Request, Response, Welcome, request, response};
use super::settings::GrpcSettings;
use crate::metrics;
use crate::transport::{Endpoint, TransportError};

/// See the module.
pub(super) struct Session {
    settings: Arc<GrpcSettings>,
    endpoint: Arc<dyn Endpoint>,
    stop: watch::Receiver<bool>,
    calls: Streaming<Request>,
    in_progress: FuturesUnordered<BoxFuture<'static, Done>>,
    bytes_in_progress: usize,
    state: State,
}

/// A call that was handled.
struct Done {
    /// What it weighed.
    weight: usize,
    answer: Answer,
}

#[derive(PartialEq)]
enum State {
    Greeting,
    Open,
    Ended,
}

impl Session {
    /// A stream whose first words have been checked.
    pub(super) fn new(
        settings: Arc<GrpcSettings>,
        endpoint: Arc<dyn Endpoint>,
        stop: watch::Receiver<bool>,
        calls: Streaming<Request>,
    ) -> Session {
        Session {
            settings,
            endpoint,
            stop,
            calls,
            in_progress: FuturesUnordered::new(),
            bytes_in_progress: 0,
            state: State::Greeting,
        }
    }

    /// What goes back to the client.
    pub(super) fn responses(self) -> impl Stream<Item = Result<Response, Status>> + Send {
        stream::unfold(self, |mut session| async move {
            let next = session.next().await?;
            if next.is_err() {
                session.state = State::Ended;
            }
            Some((next, session))
        })
    }

    async fn next(&mut self) -> Option<Result<Response, Status>> {
        let content = match self.state {
            State::Ended => return None,
            State::Greeting => {
                self.state = State::Open;
                let message_bytes = self.settings.message_bytes.try_into().unwrap_or(u64::MAX);
                response::Content::Welcome(Welcome { message_bytes })
            }
            State::Open => match self.answers().await? {
                Ok(answers) => response::Content::Answers(Answers { answers }),
                Err(status) => return Some(Err(status)),
            },
        };
        Some(Ok(Response { content: Some(content) }))
    }

    /// The next answers; `None` if the client has ended the stream.
    async fn answers(&mut self) -> Option<Result<Vec<Answer>, Status>> {
        loop {
            let answers = self.ready();
            if !answers.is_empty() {
                return Some(Ok(answers));
            }
            let has_room = self.in_progress.len() < self.settings.calls_in_progress
                && self.bytes_in_progress < self.settings.bytes_in_progress;
            tokio::select! {
                // An error means that the server is gone.
                () = async { let _ = self.stop.wait_for(|stop| *stop).await; } => {
                    let why = format!("store {} stops", self.settings.store);
                    return Some(Err(Status::unavailable(why)));
                }
                Some(done) = self.in_progress.next() => {
                    self.bytes_in_progress = self.bytes_in_progress.saturating_sub(done.weight);
                    return Some(Ok(self.ready_behind(done.answer)));
                }
                request = self.calls.message(), if has_room => {
                    if let Err(status) = self.accept(request.transpose()?) {
                        return Some(Err(status));
                    }
                }
            }
        }
    }

    /// Answers that need not be waited for.
    fn ready(&mut self) -> Vec<Answer> {
        let first = self.in_progress.next().now_or_never().flatten();
        first.map_or_else(Vec::new, |done| {
            self.bytes_in_progress = self.bytes_in_progress.saturating_sub(done.weight);
            self.ready_behind(done.answer)
        })
    }

    /// An answer, and those that need not be waited for, up to a full frame.
    fn ready_behind(&mut self, first: Answer) -> Vec<Answer> {
        let mut bytes = frame::answer_weight(&first);
        let mut answers = vec![first];
        while answers.len() < self.settings.frame_calls && bytes < self.settings.frame_bytes {
            let Some(Some(done)) = self.in_progress.next().now_or_never() else { break };
            self.bytes_in_progress = self.bytes_in_progress.saturating_sub(done.weight);
            bytes = bytes.saturating_add(frame::answer_weight(&done.answer));
            answers.push(done.answer);
        }
        answers
    }

    /// Takes a frame in. What cannot be decoded, or is no frame of calls, ends the stream.
    fn accept(&mut self, request: Result<Request, Status>) -> Result<(), Status> {
        let request = request.inspect_err(|status| {
            tracing::warn!(%status, "a stream of another store has ended");
        })?;
        let Some(request::Content::Calls(frame)) = request.content else {
            return Err(Status::invalid_argument("calls were expected"));
        };
        let mut bytes = 0usize;
        let count = frame.calls.len();
        for call in frame.calls {
            let weight = frame::weight(&call.body);
            bytes = bytes.saturating_add(weight);
            self.bytes_in_progress = self.bytes_in_progress.saturating_add(weight);
            self.in_progress.push(self.handle(call, weight));
        }
        metrics::transport_received(count, bytes);
        Ok(())
    }

    /// Handles a call.
    fn handle(&self, call: Call, weight: usize) -> BoxFuture<'static, Done> {
        let GrpcSettings { store, message_bytes, call_timeout, .. } = *self.settings;
        let (number, bytes) = (call.number, call.body.len());
        let answered = if bytes > message_bytes {
            let why = format!("{bytes} bytes: {message_bytes} are allowed in one message");
            Err(TransportError::Refused { store, why })
        } else {
            frame::message(call).map(|message| self.endpoint.receive(message))
        };
        Box::pin(async move {
            let outcome = match answered {
                Ok(answer) => {
                    tokio::time::timeout(call_timeout, answer).await.unwrap_or_else(|_| {
                        let why = format!("it has no answer after {call_timeout:?}");
                        Err(TransportError::Unreachable { store, why })
                    })
                }
                Err(error) => Err(error),
            };
            Done { weight, answer: frame::answer(number, outcome) }
        })
    }
}
