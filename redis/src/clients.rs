//! The list of connections: CLIENT LIST, CLIENT KILL, the connection limit, and stopping.
//!
//! Every connection has a [`Client`], shared between its task and the list. The task writes what
//! others may want to see with relaxed stores, once per batch; nobody else writes there except to
//! [`Client::kill`]. The list itself is locked when a client comes or goes, and by those who look
//! at it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::task::Waker;
use std::time::Instant;

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::Notify;

/// No command has been run yet.
const NO_COMMAND: usize = usize::MAX;

/// What others may know about a connection.
pub struct Client {
    /// Its number, never used again in this process. The first is 1.
    pub id: u64,
    /// The address it came from.
    pub peer: SocketAddr,
    /// The address it came to.
    pub local: SocketAddr,
    /// When it came.
    pub since: Instant,
    names: Mutex<ClientNames>,
    version: AtomicU8,
    readonly: AtomicBool,
    no_evict: AtomicBool,
    no_touch: AtomicBool,
    command: AtomicUsize,
    /// Milliseconds between `since` and its last command.
    active_ms: AtomicU64,
    input: AtomicUsize,
    output: AtomicUsize,
    /// It is to end when it has run the commands that it has received.
    closing: AtomicBool,
    /// It is to end before its next command.
    killed: AtomicBool,
    waker: AtomicWaker,
}

/// What a client says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientNames {
    /// CLIENT SETNAME.
    pub name: Bytes,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Bytes,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Bytes,
}

impl Client {
    fn new(id: u64, peer: SocketAddr, local: SocketAddr) -> Client {
        Client {
            id,
            peer,
            local,
            since: Instant::now(),
            names: Mutex::new(ClientNames::default()),
            version: AtomicU8::new(2),
            readonly: AtomicBool::new(false),
            no_evict: AtomicBool::new(false),
            no_touch: AtomicBool::new(false),
            command: AtomicUsize::new(NO_COMMAND),
            active_ms: AtomicU64::new(0),
            input: AtomicUsize::new(0),
            output: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            killed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// What the client calls itself.
    pub fn names(&self) -> ClientNames {
        self.names.lock().clone()
    }

    /// Changes what the client calls itself.
    pub fn rename(&self, change: impl FnOnce(&mut ClientNames)) {
        change(&mut self.names.lock());
    }

    /// Notes the protocol's version, 2 or 3.
    pub fn set_version(&self, version: u8) {
        self.version.store(version, Ordering::Relaxed);
    }

    /// Notes READONLY and READWRITE.
    pub fn set_readonly(&self, readonly: bool) {
        self.readonly.store(readonly, Ordering::Relaxed);
    }

    /// Notes CLIENT NO-EVICT.
    pub fn set_no_evict(&self, on: bool) {
        self.no_evict.store(on, Ordering::Relaxed);
    }

    /// Notes CLIENT NO-TOUCH.
    pub fn set_no_touch(&self, on: bool) {
        self.no_touch.store(on, Ordering::Relaxed);
    }

    /// Notes the last command, as its position in the table, and the bytes in the buffers.
    pub fn note(&self, now: Instant, command: usize, input: usize, output: usize) {
        let active = now.saturating_duration_since(self.since).as_millis();
        self.active_ms.store(u64::try_from(active).unwrap_or(u64::MAX), Ordering::Relaxed);
        self.command.store(command, Ordering::Relaxed);
        self.input.store(input, Ordering::Relaxed);
        self.output.store(output, Ordering::Relaxed);
    }

    /// Asks the connection to end after what it is doing: when the server stops.
    pub fn close(&self) {
        self.closing.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Ends the connection: CLIENT KILL. It runs no further command. False if somebody has done so
    /// before.
    pub fn kill(&self) -> bool {
        let first = !self.killed.swap(true, Ordering::AcqRel);
        self.close();
        first
    }

    /// Whether it may run no further command.
    #[inline]
    pub fn is_killed(&self) -> bool {
        self.killed.load(Ordering::Acquire)
    }

    /// Whether the connection was asked to end. `waker` is woken if that happens later.
    pub fn poll_closing(&self, waker: &Waker) -> bool {
        self.waker.register(waker);
        self.closing.load(Ordering::Acquire)
    }

    /// Whether the connection was asked to end.
    pub fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn flags(&self) -> String {
        let flags = [(&self.readonly, 'r'), (&self.no_evict, 'e'), (&self.no_touch, 'T')];
        let set: String = flags
            .iter()
            .filter(|(flag, _)| flag.load(Ordering::Relaxed))
            .map(|(_, name)| *name)
            .collect();
        if set.is_empty() { "N".to_owned() } else { set }
    }
}

/// The connections of a server.
pub struct Clients {
    /// The names of all commands; a client's last command is a position among them.
    commands: Vec<&'static str>,
    list: Mutex<BTreeMap<u64, Arc<Client>>>,
    count: AtomicUsize,
    last_id: AtomicU64,
    gone: Notify,
}

impl Clients {
    /// Nobody is connected. `commands` are the names of all commands.
    #[must_use]
    pub fn new(commands: impl IntoIterator<Item = &'static str>) -> Clients {
        Clients {
            commands: commands.into_iter().collect(),
            list: Mutex::default(),
            count: AtomicUsize::new(0),
            last_id: AtomicU64::new(0),
            gone: Notify::new(),
        }
    }

    /// A client's line in CLIENT LIST, with the fields of Redis 7.0 and the library's name and
    /// version at the end. `command` is what to show as the last command, if the caller knows
    /// better than the client's last note.
    #[must_use]
    pub fn line(&self, client: &Client, now: Instant, command: Option<&str>) -> String {
        let names = client.names();
        let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
        let age = now.saturating_duration_since(client.since).as_secs();
        let idle = age.saturating_sub(client.active_ms.load(Ordering::Relaxed) / 1000);
        let noted = self.commands.get(client.command.load(Ordering::Relaxed));
        let command = command.or(noted.copied()).unwrap_or("NULL");
        let (input, output) =
            (client.input.load(Ordering::Relaxed), client.output.load(Ordering::Relaxed));
        format!(
            "id={} addr={} laddr={} fd=-1 name={} age={age} idle={idle} flags={} db=0 sub=0 \
             psub=0 ssub=0 multi=-1 qbuf={input} qbuf-free=0 argv-mem=0 multi-mem=0 rbs={output} \
             rbp=0 obl={output} oll=0 omem={output} tot-mem={} events=r cmd={command} \
             user=default redir=-1 resp={} lib-name={} lib-ver={}",
            client.id,
            client.peer,
            client.local,
            text(&names.name),
            client.flags(),
            input + output,
            client.version.load(Ordering::Relaxed),
            text(&names.lib_name),
            text(&names.lib_ver),
        )
    }

    /// Connections now.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether nobody is connected.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All connections but those that were killed, in the order in which they came.
    pub fn all(&self) -> Vec<Arc<Client>> {
        self.list.lock().values().filter(|client| !client.is_killed()).cloned().collect()
    }

    /// The connection with this number.
    pub fn get(&self, id: u64) -> Option<Arc<Client>> {
        self.list.lock().get(&id).cloned()
    }

    /// Takes a connection in, or `None` if there are `limit` already.
    pub fn admit(&self, limit: usize, peer: SocketAddr, local: SocketAddr) -> Option<Arc<Client>> {
        let mut list = self.list.lock();
        if list.len() >= limit {
            return None;
        }
        let id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let client = Arc::new(Client::new(id, peer, local));
        list.insert(id, client.clone());
        self.count.store(list.len(), Ordering::Relaxed);
        Some(client)
    }

    /// Takes a connection out, at its end.
    pub fn remove(&self, id: u64) {
        let mut list = self.list.lock();
        list.remove(&id);
        self.count.store(list.len(), Ordering::Relaxed);
        if list.is_empty() {
            self.gone.notify_waiters();
        }
    }

    /// Asks all connections to end.
    pub fn close_all(&self) {
        for client in self.all() {
            client.close();
        }
    }

    /// Waits until the last connection has ended.
    pub async fn all_gone(&self) {
        loop {
            let gone = self.gone.notified();
            if self.is_empty() {
                return;
            }
            gone.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], port))
    }

    #[test]
    fn the_limit_counts_those_who_are_there() {
        let clients = Clients::new(["ping"]);
        let first = clients.admit(2, address(1), address(9)).unwrap();
        let second = clients.admit(2, address(2), address(9)).unwrap();
        assert_eq!((first.id, second.id, clients.len()), (1, 2, 2));
        assert!(clients.admit(2, address(3), address(9)).is_none());
        clients.remove(first.id);
        let third = clients.admit(2, address(3), address(9)).unwrap();
        assert_eq!(clients.all().iter().map(|client| client.id).collect::<Vec<_>>(), [2, third.id]);
        assert!(clients.get(1).is_none() && clients.get(2).is_some());
    }

    #[test]
    fn a_line_has_the_fields_of_redis() {
        let clients = Clients::new(["ping"]);
        let client = clients.admit(1, address(4000), address(6379)).unwrap();
        client.rename(|names| names.name = Bytes::from("worker"));
        client.set_version(3);
        client.set_no_evict(true);
        client.note(client.since + Duration::from_secs(2), 0, 5, 7);
        let line = clients.line(&client, client.since + Duration::from_secs(9), None);
        assert_eq!(
            line,
            "id=1 addr=127.0.0.1:4000 laddr=127.0.0.1:6379 fd=-1 name=worker age=9 idle=7 flags=e \
             db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=5 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=7 \
             rbp=0 obl=7 oll=0 omem=7 tot-mem=12 events=r cmd=ping user=default redir=-1 resp=3 \
             lib-name= lib-ver="
        );
        let line = clients.line(&client, client.since, Some("client|list"));
        assert!(line.contains(" cmd=client|list "), "{line}");
    }

    /// Counts how often it is woken.
    #[derive(Default)]
    struct CountingWaker(AtomicUsize);

    impl std::task::Wake for CountingWaker {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_client_that_is_asked_to_end_is_woken() {
        let clients = Clients::new(["ping"]);
        let client = clients.admit(1, address(1), address(2)).unwrap();
        let counter = Arc::new(CountingWaker::default());
        let waker = Waker::from(counter.clone());
        assert!(!client.poll_closing(&waker));
        clients.close_all();
        assert_eq!(counter.0.load(Ordering::Relaxed), 1);
        assert!(client.poll_closing(&waker) && client.is_closing());
    }
}
