//! Arguments of `encode`: one command for each kind of key and value.

use clap::{Args as ClapArgs, Subcommand};
use neokv_encoding::key::{RaftStateKind, RegionKind};

use super::{User, bytes, number, raft_state_kind, region_kind, score, slot};
use crate::bytes_input::BytesArg;

/// What `encode` can make.
#[derive(Clone, Debug, Subcommand)]
pub enum Encode {
    /// Keys of users' data.
    #[command(flatten)]
    DataKey(DataKey),
    /// Keys of bookkeeping.
    #[command(flatten)]
    SystemKey(SystemKey),
    /// Values.
    #[command(flatten)]
    Value(EncodedValue),
}

/// Keys of users' data.
#[derive(Clone, Debug, Subcommand)]
pub enum DataKey {
    /// Key of a user key's record (family metadata)
    MetadataKey(User),
    /// Key of a hash field, a set or zset member (family subkey)
    Subkey {
        /// Whose part it is
        #[command(flatten)]
        user: User,
        /// Version of the collection
        #[arg(value_parser = number)]
        version: u64,
        /// Field or member
        #[arg(value_name = "SUBKEY", value_parser = bytes())]
        subkey: BytesArg,
    },
    /// Key of a list element (family subkey)
    Element {
        /// Whose part it is
        #[command(flatten)]
        user: User,
        /// Version of the list
        #[arg(value_parser = number)]
        version: u64,
        /// Absolute position, between head and tail of the list
        #[arg(value_parser = number)]
        position: u64,
    },
    /// Key of a zset member by score (family zset_score)
    ScoreKey {
        /// Whose part it is
        #[command(flatten)]
        user: User,
        /// Version of the zset
        #[arg(value_parser = number)]
        version: u64,
        /// Score; inf and -inf are scores too
        #[arg(value_parser = score, allow_negative_numbers = true)]
        score: f64,
        /// Member
        #[arg(value_name = "MEMBER", value_parser = bytes())]
        member: BytesArg,
    },
    /// Key of a user key's expiry (family expire)
    ExpireKey {
        /// Whose expiry it is
        #[command(flatten)]
        user: User,
        /// Milliseconds since 1970
        #[arg(value_parser = number)]
        expire_ms: u64,
    },
    /// Key of the key count of a slot (family slot_stats)
    SlotStatsKey {
        /// The slot
        #[arg(value_parser = slot())]
        slot: u16,
        /// Its namespace
        #[arg(long, default_value_t = 0)]
        namespace: u32,
    },
    /// Key of a phase-1 string, the older format (family subkey)
    V1Key(User),
}

/// Keys of bookkeeping.
#[derive(Clone, Copy, Debug, Subcommand)]
pub enum SystemKey {
    /// Key of a log entry (family raft_log)
    RaftLogKey {
        /// Region id
        #[arg(value_parser = number)]
        region: u64,
        /// Index of the entry
        #[arg(value_parser = number)]
        index: u64,
    },
    /// Key of a Region's Raft state (family raft_state)
    RaftStateKey {
        /// Region id
        #[arg(value_parser = number)]
        region: u64,
        /// Which record
        #[arg(value_parser = raft_state_kind())]
        record: RaftStateKind,
    },
    /// Key of a Region's record (family region)
    RegionKey {
        /// Region id
        #[arg(value_parser = number)]
        region: u64,
        /// Which record
        #[arg(value_parser = region_kind())]
        record: RegionKind,
    },
    /// Key of the store's identity (family default)
    IdentityKey,
    /// Key of the mark that files with written rows are being taken in (family default)
    BehindKey,
    /// Key of the mark that a Region's data is being replaced (family default)
    IngestKey {
        /// Region id
        #[arg(value_parser = number)]
        region: u64,
    },
}

/// Values.
#[derive(Clone, Debug, Subcommand)]
pub enum EncodedValue {
    /// Metadata value of a string
    String(StringValue),
    /// Metadata value of a hash
    Hash(CollectionValue),
    /// Metadata value of a list
    List {
        /// Expiry and version
        #[command(flatten)]
        common: CollectionArgs,
        /// Position of the first element [default: the middle]
        #[arg(long, value_parser = number)]
        head: Option<u64>,
        /// Number of elements
        #[arg(long, value_parser = number, default_value = "0")]
        size: u64,
    },
    /// Metadata value of a set
    Set(CollectionValue),
    /// Metadata value of a zset
    Zset(CollectionValue),
    /// Value of a zset member: its score
    Score {
        /// Score; inf and -inf are scores too
        #[arg(value_parser = score, allow_negative_numbers = true)]
        score: f64,
    },
    /// Value of a phase-1 string
    V1String(StringValue),
    /// The slot of a key, as every data key begins
    Slot {
        /// The user key
        #[arg(value_name = "KEY", value_parser = bytes())]
        key: BytesArg,
    },
}

/// A string with its expiry.
#[derive(Clone, Debug, ClapArgs)]
pub struct StringValue {
    /// The string
    #[arg(value_name = "VALUE", value_parser = bytes())]
    pub value: BytesArg,
    /// When it expires, in milliseconds since 1970; 0 never
    #[arg(long, value_parser = number, default_value = "0")]
    pub expire_ms: u64,
}

/// What all collections have.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct CollectionArgs {
    /// Version that the parts carry
    #[arg(long = "version", id = "collection_version", value_name = "N", value_parser = number)]
    pub version: u64,
    /// When it expires, in milliseconds since 1970; 0 never
    #[arg(long, value_parser = number, default_value = "0")]
    pub expire_ms: u64,
}

/// A hash, set or zset.
#[derive(Clone, Copy, Debug, ClapArgs)]
pub struct CollectionValue {
    /// Expiry and version
    #[command(flatten)]
    pub common: CollectionArgs,
    /// Number of elements
    #[arg(long, value_parser = number, default_value = "0")]
    pub size: u64,
}
