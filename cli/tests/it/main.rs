//! One test binary: linking RocksDB is slow.

#[cfg(test)]
mod examples;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod inverse;
#[cfg(test)]
mod process;
#[cfg(test)]
mod sources;
#[cfg(test)]
#[path = "../../../inspect/tests/it/stores.rs"]
mod stores;
