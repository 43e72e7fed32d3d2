//! The engine against a real RocksDB on a real disk: one binary, because linking RocksDB takes its
//! time.

#[cfg(test)]
mod batches;
#[cfg(test)]
mod budgeted_reads;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod cursors;
#[cfg(test)]
mod damage;
#[cfg(test)]
mod directories;
#[cfg(test)]
mod full_disk;
#[cfg(test)]
mod log_bytes;
#[cfg(test)]
mod memtables;
#[cfg(test)]
mod orphans;
#[cfg(test)]
mod power_loss;
#[cfg(test)]
mod rows;
#[cfg(test)]
mod small_disk;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tools;
#[cfg(test)]
mod transfers;
