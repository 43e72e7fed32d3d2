//! Settings of the transport.

use std::path::PathBuf;
use std::time::Duration;

/// Where the certificates are, as PEM. With them both ends of every connection prove that they
/// belong to the cluster: by a certificate that the authority has signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate of the authority.
    pub authority: PathBuf,
    /// Certificate of this store, for server and client use; intermediate ones behind it.
    pub certificate: PathBuf,
    /// The private key of that certificate.
    pub key: PathBuf,
    /// The name that the certificates of other stores are issued to. `None` means the host in
    /// their address.
    pub name: Option<String>,
}

/// Settings of a [`GrpcTransport`](super::GrpcTransport) and of a
/// [`GrpcServer`](super::GrpcServer).
#[derive(Debug, Clone)]
pub struct GrpcSettings {
    /// The cluster. Stores of another one are refused.
    pub cluster: u64,
    /// This store's id.
    pub store: u64,
    /// Certificates; `None` means plain TCP, for networks that nobody else is in.
    pub tls: Option<TlsFiles>,

    /// Longest wait for a connection, and for the first words on it.
    pub connect_timeout: Duration,
    /// Longest pause after the first attempt to connect that failed. Each one after it may be twice
    /// as long.
    pub backoff_min: Duration,
    /// Longest pause between two attempts.
    pub backoff_max: Duration,
    /// A connection is asked so often whether its other end is still there.
    pub keepalive_interval: Duration,
    /// One that does not answer for so long is given up.
    pub keepalive_timeout: Duration,
    /// Longest time for one call, whatever its caller allows: calls that are given up at one end
    /// do not stay at the other one forever.
    pub call_timeout: Duration,
    /// How long a stop lets connections end in order, before it closes them.
    pub stop_timeout: Duration,

    /// Calls that may wait in one lane to one store.
    pub queue_calls: usize,
    /// Bytes that they may have. A call that is larger may wait alone.
    pub queue_bytes: usize,
    /// Calls of one lane that may be with the other store, unanswered.
    pub calls_in_flight: usize,
    /// Calls or answers in one frame.
    pub frame_calls: usize,
    /// Bytes in one frame. A call that is larger travels alone.
    pub frame_bytes: usize,
    /// Largest message. It must hold the largest entry: one that does not fit through would stop
    /// the replication of its Region.
    pub message_bytes: usize,
    /// Bytes that one end may send before the other one has taken them out.
    pub window_bytes: u32,

    /// Connections that a server takes. There are three for every store that sends to it.
    pub connections: usize,
    /// Calls of one connection that a server handles at the same time. Behind them it stops
    /// reading.
    pub calls_in_progress: usize,
    /// Bytes that they may have before it stops reading.
    pub bytes_in_progress: usize,
}

impl GrpcSettings {
    /// Defaults for this store of this cluster, without certificates.
    pub fn new(cluster: u64, store: u64) -> GrpcSettings {
        GrpcSettings {
            cluster,
            store,
            tls: None,
            connect_timeout: Duration::from_secs(2),
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            keepalive_interval: Duration::from_secs(2),
            keepalive_timeout: Duration::from_secs(3),
            call_timeout: Duration::from_secs(900),
            stop_timeout: Duration::from_secs(1),
            queue_calls: 4096,
            queue_bytes: 64 << 20,
            calls_in_flight: 4096,
            frame_calls: 256,
            frame_bytes: 1 << 20,
            // The largest command (`Config::command_bytes`), and what is around it.
            message_bytes: (1 << 30) + (64 << 20),
            window_bytes: 4 << 20,
            connections: 1024,
            calls_in_progress: 4096,
            bytes_in_progress: 64 << 20,
        }
    }

    /// Largest frame on the wire: one that was almost full before the largest message came.
    pub(super) fn largest_frame(&self) -> usize {
        /// Of the fields around a body, times the calls of a frame.
        const AROUND: usize = 64;
        let around = self.frame_calls.saturating_add(1).saturating_mul(AROUND);
        self.message_bytes.saturating_add(self.frame_bytes).saturating_add(around)
    }
}
