//! The crate from outside, on small stores. One test binary: linking RocksDB is slow.

#[cfg(test)]
mod answers;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod stores;
