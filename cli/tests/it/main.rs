//! One test binary: linking RocksDB is slow.

#[cfg(test)]
mod golden;
#[cfg(test)]
mod inverse;
#[cfg(test)]
mod process;
#[cfg(test)]
mod sources;
#[cfg(test)]
mod stores;
