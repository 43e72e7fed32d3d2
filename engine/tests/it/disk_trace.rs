//! Power losses, from a trace of what a process did to its files.
//!
//! [`record`] runs a process with `recorder.c` loaded and gets every write, name and sync in their
//! order. [`Disk`] plays them again, up to any of them, and knows of each file and directory what
//! is on the disk for certain and what is only in the system's memory:
//!
//! ```text
//! directory   names      as of its last sync    + any of those made or removed since
//! file        bytes      as of its last sync    + any pages of what was written since, any length
//! ```
//!
//! So a sync of a file does not make its name durable, and that of a directory not what is in its
//! files. No file system loses more than that, and most lose less. Only the files of the directory
//! itself get their names in order, as they do on all file systems with a journal: RocksDB relies
//! on it when it gives a new MANIFEST its name and then names it in CURRENT.
//!
//! An [`Image`] is what one power loss leaves.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::log_bytes::{Random, lose_pages};

/// What a process did, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    Create {
        inode: u64,
        name: String,
    },
    MakeDir {
        inode: u64,
        name: String,
    },
    Link {
        inode: u64,
        name: String,
    },
    Write {
        inode: u64,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: u64,
        length: usize,
    },
    Sync {
        inode: u64,
    },
    /// A part of it is on its way to the disk, and nobody knows how far.
    Step {
        inode: u64,
    },
    Rename {
        inode: u64,
        from: String,
        to: String,
    },
    Remove {
        name: String,
    },
    /// What the process says of itself, by a directory that is called `note` and the words.
    Note(Vec<String>),
}

/// The process says something between two events of its trace.
pub(crate) fn note(dir: &Path, words: &str) {
    fs::create_dir(dir.join(format!("note {words}"))).unwrap();
    fs::remove_dir(dir.join(format!("note {words}"))).unwrap();
}

/// Runs a process and returns what it did to the files of `dir`.
pub(crate) fn record(dir: &Path, process: &mut Command) -> Vec<Event> {
    let scratch = tempfile::tempdir().unwrap();
    let recorder = scratch.path().join("recorder.so");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/recorder.c");
    let built = Command::new("cc")
        .args(["-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC", "-o"])
        .args([&recorder, &source])
        .status();
    assert!(built.unwrap().success());
    let trace = scratch.path().join("trace");
    let output = process
        .env("LD_PRELOAD", &recorder)
        .env("NEOKV_RECORD_DIR", dir)
        .env("NEOKV_RECORD_TO", &trace)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    parse(&fs::read(&trace).unwrap())
}

fn parse(mut trace: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    while !trace.is_empty() {
        let line = take_line(&mut trace);
        let (kind, rest) = line.split_once(' ').unwrap();
        let number = |text: &str| text.parse::<usize>().unwrap();
        let (first, name) = rest.split_once(' ').unwrap_or((rest, ""));
        let inode = first.parse().unwrap_or_default();
        let name = name.to_owned();
        events.push(match kind {
            "create" => Event::Create { inode, name },
            "mkdir" if name.starts_with("note ") => {
                Event::Note(name.split(' ').skip(1).map(str::to_owned).collect())
            }
            "mkdir" => Event::MakeDir { inode, name },
            "link" => Event::Link { inode, name },
            "write" => {
                let (at, length) = name.split_once(' ').unwrap();
                let (bytes, behind) = trace.split_at(number(length));
                trace = behind;
                Event::Write { inode, at: number(at), bytes: bytes.to_vec() }
            }
            "truncate" => Event::Truncate { inode, length: number(&name) },
            "sync" => Event::Sync { inode },
            "step" => Event::Step { inode },
            "rename" => Event::Rename { inode, from: name, to: take_line(&mut trace) },
            "remove" if rest.starts_with("note ") => continue,
            "remove" => Event::Remove { name: rest.to_owned() },
            _ => panic!("{line}"),
        });
    }
    events
}

fn take_line(trace: &mut &[u8]) -> String {
    let end = trace.iter().position(|byte| *byte == b'\n').unwrap();
    let line = String::from_utf8(trace[..end].to_vec()).unwrap();
    *trace = &trace[end + 1..];
    line
}

/// Names made (of a node) or removed (`None`), all at once.
#[derive(Clone, Debug)]
struct Renaming {
    names: Vec<(String, Option<usize>)>,
    /// Of a directory.
    is_dir: bool,
}

/// A file or a directory.
#[derive(Clone, Debug, Default)]
struct Node {
    is_dir: bool,
    /// Bytes of a file that are on the disk.
    durable: Vec<u8>,
    /// Bytes of a file as the process sees them.
    current: Vec<u8>,
    /// Names of a directory that are on the disk.
    names: BTreeMap<String, usize>,
    /// What became of its names since.
    renamings: Vec<Renaming>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Disk {
    nodes: Vec<Node>,
    inodes: HashMap<u64, usize>,
}

/// What may be lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Losable {
    /// One renaming of a directory.
    Renaming { dir: usize, at: usize },
    /// What was written to a file.
    Bytes { file: usize },
}

/// A trace as it would be if the process had not synced what `is_left_out` says. It is asked with
/// the inode of what was synced and all that happened before.
pub(crate) fn without_syncs(
    events: &[Event],
    mut is_left_out: impl FnMut(u64, &[Event]) -> bool,
) -> Vec<Event> {
    let mut left = events.to_vec();
    let mut at = 0;
    left.retain(|event| {
        at += 1;
        !matches!(event, Event::Sync { inode } if is_left_out(*inode, &events[..at - 1]))
    });
    left
}

/// What a power loss takes of what is not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    Nothing,
    Everything,
    /// All names that are not synced, and no bytes.
    Names,
    /// All bytes that are not synced, and no names.
    Bytes,
    /// One thing, or some of them, and any pages of the files.
    Some {
        seed: u64,
    },
}

impl Disk {
    /// What is in a directory, all of it on the disk.
    pub(crate) fn of(dir: &Path) -> Disk {
        let mut disk = Disk { nodes: Vec::new(), inodes: HashMap::new() };
        disk.add_dir(dir);
        disk
    }

    fn add_dir(&mut self, dir: &Path) -> usize {
        let node = self.add(dir.metadata().unwrap().ino(), true);
        for entry in fs::read_dir(dir).unwrap() {
            let (path, name) = entry.map(|entry| (entry.path(), entry.file_name())).unwrap();
            let child = if path.is_dir() {
                self.add_dir(&path)
            } else {
                let file = self.add(path.metadata().unwrap().ino(), false);
                self.nodes[file].durable = fs::read(&path).unwrap();
                self.nodes[file].current = self.nodes[file].durable.clone();
                file
            };
            self.nodes[node].names.insert(name.into_string().unwrap(), child);
        }
        node
    }

    fn add(&mut self, inode: u64, is_dir: bool) -> usize {
        self.nodes.push(Node { is_dir, ..Node::default() });
        // A removed file may have had the same number.
        self.inodes.insert(inode, self.nodes.len() - 1);
        self.nodes.len() - 1
    }

    fn file(&mut self, inode: u64) -> &mut Node {
        &mut self.nodes[self.inodes[&inode]]
    }

    /// The names of a directory as the process sees them.
    fn current_names(&self, dir: usize) -> BTreeMap<String, usize> {
        self.names_after(dir, |_| true)
    }

    /// The names of a directory after some of the renamings.
    fn names_after(&self, dir: usize, happened: impl Fn(usize) -> bool) -> BTreeMap<String, usize> {
        let mut names = self.nodes[dir].names.clone();
        for (at, renaming) in self.nodes[dir].renamings.iter().enumerate() {
            for (name, node) in renaming.names.iter().filter(|_| happened(at)) {
                match node {
                    Some(node) => names.insert(name.clone(), *node),
                    None => names.remove(name),
                };
            }
        }
        names
    }

    /// The directory that a name is in, and what it is called there.
    fn place<'a>(&self, name: &'a str) -> (usize, &'a str) {
        let mut dir = 0;
        let mut rest = name;
        while let Some((parent, below)) = rest.split_once('/') {
            dir = self.current_names(dir)[parent];
            rest = below;
        }
        (dir, rest)
    }

    fn rename(&mut self, name: &str, node: Option<usize>) {
        let (dir, name) = self.place(name);
        let is_dir = self.nodes[node.unwrap_or_else(|| self.current_names(dir)[name])].is_dir;
        let names = vec![(name.to_owned(), node)];
        self.nodes[dir].renamings.push(Renaming { names, is_dir });
    }

    /// The next thing happens.
    pub(crate) fn play(&mut self, event: &Event) {
        match event {
            Event::Create { inode, name } => {
                let node = self.add(*inode, false);
                self.rename(name, Some(node));
            }
            Event::MakeDir { inode, name } => {
                let node = self.add(*inode, true);
                self.rename(name, Some(node));
            }
            Event::Link { inode, name } => self.rename(name, Some(self.inodes[inode])),
            Event::Remove { name } => self.rename(name, None),
            Event::Rename { inode, from, to } => {
                let (from, to) = (self.place(from), self.place(to));
                assert_eq!(from.0, to.0, "RocksDB renames within a directory");
                let names =
                    vec![(from.1.to_owned(), None), (to.1.to_owned(), Some(self.inodes[inode]))];
                self.nodes[from.0].renamings.push(Renaming { names, is_dir: false });
            }
            Event::Write { inode, at, bytes } => {
                let file = &mut self.file(*inode).current;
                file.resize(file.len().max(at + bytes.len()), 0);
                file[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Event::Truncate { inode, length } => self.file(*inode).current.resize(*length, 0),
            Event::Sync { inode } => {
                let node = self.inodes[inode];
                self.nodes[node].names = self.current_names(node);
                self.nodes[node].renamings.clear();
                self.nodes[node].durable = self.nodes[node].current.clone();
            }
            Event::Step { .. } | Event::Note(_) => {}
        }
    }

    /// Everything that is not on the disk for certain.
    fn losable(&self) -> Vec<Losable> {
        let mut losable = Vec::new();
        for (number, node) in self.nodes.iter().enumerate() {
            let renamings = 0..node.renamings.len();
            losable.extend(renamings.map(|at| Losable::Renaming { dir: number, at }));
            if node.current != node.durable {
                losable.push(Losable::Bytes { file: number });
            }
        }
        losable
    }

    /// What a power loss leaves.
    pub(crate) fn lose_power(&self, loss: Loss) -> Image {
        let mut losable = self.losable();
        let mut random = Random(0);
        match loss {
            Loss::Nothing => losable.clear(),
            Loss::Everything => {}
            Loss::Names => losable.retain(|lost| matches!(lost, Losable::Renaming { .. })),
            Loss::Bytes => losable.retain(|lost| matches!(lost, Losable::Bytes { .. })),
            Loss::Some { seed } => {
                random = Random(seed);
                if random.below(2) == 0 && !losable.is_empty() {
                    losable = vec![losable[random.below(losable.len())]];
                } else {
                    losable.retain(|_| random.below(2) == 0);
                }
            }
        }
        self.lose_in_order(&mut losable);
        let any_pages = matches!(loss, Loss::Some { .. }).then_some(&mut random);
        self.image(&losable, any_pages)
    }

    /// Where the name of a file of the directory itself is lost, those after it are, too.
    fn lose_in_order(&self, lost: &mut Vec<Losable>) {
        let files = self.nodes[0].renamings.iter().enumerate();
        let files = files.filter(|(_, renaming)| !renaming.is_dir);
        let files: Vec<Losable> = files.map(|(at, _)| Losable::Renaming { dir: 0, at }).collect();
        if let Some(first) = files.iter().position(|file| lost.contains(file)) {
            lost.extend(&files[first..]);
        }
    }

    fn image(&self, lost: &[Losable], mut any_pages: Option<&mut Random>) -> Image {
        let mut bytes: HashMap<usize, Vec<u8>> = HashMap::new();
        for file in lost {
            let Losable::Bytes { file } = file else { continue };
            let Node { durable, current, .. } = &self.nodes[*file];
            let mut left = durable.clone();
            if let Some(random) = any_pages.as_deref_mut().filter(|_| current.len() > left.len()) {
                left = current.clone();
                lose_pages(&mut left, durable.len(), random);
            }
            bytes.insert(*file, left);
        }
        let mut image = Image::default();
        let mut dirs = vec![(PathBuf::new(), 0)];
        while let Some((path, dir)) = dirs.pop() {
            let names = self.names_after(dir, |at| !lost.contains(&Losable::Renaming { dir, at }));
            for (name, node) in names {
                // RocksDB tells there what it does, and reads none of it.
                if name.starts_with("LOG") {
                    continue;
                }
                let path = path.join(name);
                if self.nodes[node].is_dir {
                    image.dirs.push(path.clone());
                    dirs.push((path, node));
                } else {
                    let bytes = bytes.get(&node).unwrap_or(&self.nodes[node].current);
                    image.files.insert(path, bytes.clone());
                }
            }
        }
        image
    }
}

/// A directory that a power loss has left.
#[derive(Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Image {
    /// Each behind the one that it is in.
    dirs: Vec<PathBuf>,
    files: BTreeMap<PathBuf, Vec<u8>>,
}

impl Image {
    /// The same for the same image.
    pub(crate) fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    /// Makes a directory of it.
    pub(crate) fn restore(&self) -> tempfile::TempDir {
        // Nobody needs it on a disk.
        let memory = Path::new("/dev/shm");
        let to = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let to = tempfile::tempdir_in(to).unwrap();
        for dir in &self.dirs {
            fs::create_dir(to.path().join(dir)).unwrap();
        }
        for (name, bytes) in &self.files {
            fs::write(to.path().join(name), bytes).unwrap();
        }
        to
    }
}
