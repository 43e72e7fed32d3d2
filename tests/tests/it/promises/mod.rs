//! Promises that a store of this kind is known to break: one named test for each.
//!
//! | promise | where |
//! | --- | --- |
//! | live data survive the cleaner, expired keys of every type disappear, also from the disk | [`expiry`] |
//! | EXPIRE, TTL and PERSIST on every type; the past deletes; overflow is an error | [`expiry`] |
//! | WRONGTYPE for every command on every other type, and nothing is changed by it | [`types`] |
//! | numbers are read strictly and printed shortest; limits of zero mean zero; errors are errors | [`grammar`] |
//! | replies carry any bytes | [`grammar`] |
//! | duplicates in one command count once and leave nothing stale behind | [`duplicates`] |
//! | a command reads and writes at one instant | [`instants`] |
//! | an acknowledged write happens exactly once, whatever is killed | [`instants`] |
//! | FLUSHDB and FLUSHALL empty everything, for ever | [`flush`] |
//! | space comes back; removing a big key is cheap; a small read of a big key is small | [`space`] |
//! | the SCAN family returns what was there all the time, and ends | [`scan`] |

mod duplicates;
mod expiry;
mod flush;
mod grammar;
mod instants;
mod scan;
mod space;
mod types;
