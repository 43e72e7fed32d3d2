//! Any bytes as a log entry: no panic; what decodes, encodes and decodes to the same.
#![no_main]

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use neokv_encoding::raft::Entry;

fuzz_target!(|bytes: &[u8]| {
    let bytes = Bytes::copy_from_slice(bytes);
    let log_id = Entry::decode_log_id(&bytes);
    if let Ok(entry) = Entry::decode(&bytes) {
        assert_eq!(log_id, Ok(entry.log_id));
        // Not the same bytes: protobuf allows more than one encoding of an admin command.
        assert_eq!(Entry::decode(&Bytes::from(entry.encode())), Ok(entry));
    }
});
