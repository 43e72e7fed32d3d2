//! Whole-system tests: real processes, real sockets, real clients.

#[cfg(test)]
mod benchmark;
#[cfg(test)]
mod clients;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod hostile;
#[cfg(test)]
mod introspection;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod modules;
#[cfg(test)]
mod offline;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod promises;
#[cfg(test)]
mod refusals;
#[cfg(test)]
mod replicas;
#[cfg(test)]
mod service;
#[cfg(test)]
#[path = "../../../engine/tests/it/small_disk.rs"]
mod small_disk;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tidy;
