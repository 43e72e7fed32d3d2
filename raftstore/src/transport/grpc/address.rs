//! Where stores are.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

/// Knows the addresses of stores. It is asked before every attempt to connect, so an address may
/// change at any time. It must not block: a directory that is asked over a network answers from
/// what it has heard last.
pub trait Addresses: Send + Sync + 'static {
    /// Where a store listens for others, as `host:port`; `None` if that is not known.
    fn address(&self, store: u64) -> Option<String>;
}

/// Addresses that are set by hand. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct AddressTable(Arc<Mutex<BTreeMap<u64, String>>>);

impl AddressTable {
    /// No addresses yet.
    pub fn new() -> AddressTable {
        AddressTable::default()
    }

    /// Sets the address of a store, instead of any before it.
    pub fn set(&self, store: u64, address: impl ToString) {
        self.0.lock().insert(store, address.to_string());
    }

    /// Forgets the address of a store.
    pub fn remove(&self, store: u64) {
        self.0.lock().remove(&store);
    }
}

impl Addresses for AddressTable {
    fn address(&self, store: u64) -> Option<String> {
        self.0.lock().get(&store).cloned()
    }
}
