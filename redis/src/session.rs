//! What a connection knows about its client.

pub mod transaction;

use std::sync::Arc;

use neokv_raftstore::SplitMix64;
use neokv_resp::Protocol;

use self::transaction::RefusedTransaction;
use crate::clients::Client;

/// The state of one connection. Owned by its task; what others may see is in [`Client`].
pub struct Session {
    /// The connection in the list of all.
    pub client: Arc<Client>,
    /// The version of the protocol, chosen with HELLO.
    pub protocol: Protocol,
    /// Whether the client has given the password, or none is asked for.
    pub authenticated: bool,
    /// READONLY: reads may be answered by a replica.
    pub readonly: bool,
    /// ASKING: the next command may go to a slot that is being imported.
    pub asking: bool,
    /// A transaction that is being refused.
    pub transaction: RefusedTransaction,
    /// The last SELECT was refused: the client may believe to be in another database.
    pub no_database: bool,
    /// Whether replies are sent: CLIENT REPLY.
    pub replies: ReplyMode,
    /// The connection ends once the replies so far are sent.
    pub closing: bool,
    seeds: SplitMix64,
}

/// What happens to replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// They are sent.
    #[default]
    On,
    /// They are not.
    Off,
    /// The running command was CLIENT REPLY SKIP: neither its own nor the next reply is sent.
    SkipNext,
    /// The running command is the one whose reply is skipped.
    Skip,
}

impl Session {
    /// The session of a client that has just come. `seed` decides its random choices.
    #[must_use]
    pub fn new(client: Arc<Client>, needs_password: bool, seed: u64) -> Session {
        Session {
            client,
            protocol: Protocol::default(),
            authenticated: !needs_password,
            readonly: false,
            asking: false,
            transaction: RefusedTransaction::default(),
            no_database: false,
            replies: ReplyMode::On,
            closing: false,
            seeds: SplitMix64::new(seed),
        }
    }

    /// Back to the state of a client that has just come: RESET.
    pub fn reset(&mut self, needs_password: bool) {
        self.set_protocol(Protocol::default());
        self.set_readonly(false);
        self.authenticated = !needs_password;
        self.asking = false;
        self.transaction = RefusedTransaction::default();
        self.no_database = false;
        // As in Redis, RESET has no reply of its own if CLIENT REPLY SKIP stands before it.
        if self.replies != ReplyMode::Skip {
            self.replies = ReplyMode::On;
        }
        self.client.rename(|names| names.name.clear());
    }

    /// Switches the version of the protocol.
    pub fn set_protocol(&mut self, protocol: Protocol) {
        self.protocol = protocol;
        self.client.set_version(protocol.version());
    }

    /// READONLY or READWRITE.
    pub fn set_readonly(&mut self, readonly: bool) {
        self.readonly = readonly;
        self.client.set_readonly(readonly);
    }

    /// A seed for the random choices of one command.
    pub fn seed(&mut self) -> u64 {
        self.seeds.next_u64()
    }

    /// A command is about to run.
    pub fn begin_command(&mut self) {
        if self.replies == ReplyMode::SkipNext {
            self.replies = ReplyMode::Skip;
        }
    }

    /// A command has run. Returns whether its reply is sent.
    pub fn end_command(&mut self) -> bool {
        let sent = self.replies == ReplyMode::On;
        if self.replies == ReplyMode::Skip {
            self.replies = ReplyMode::On;
        }
        sent
    }
}
