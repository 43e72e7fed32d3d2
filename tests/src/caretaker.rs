//! Tidies up behind a program that is interrupted.
//!
//! A server and its folder go when their [`Server`](crate::process::Server) is dropped, also when a
//! test panics. Ctrl-C or a kill drops nothing. So a shell waits beside each server, in a process
//! group of its own, which Ctrl-C does not reach. It is told by a pipe which process runs. Once the
//! pipe closes, for whatever reason, it kills that process and removes the folder:
//!
//! ```text
//! this program ──pipe──► sh      "4711" a server runs    "" it has ended
//!       ╳ killed         │
//!                        └─ end of file: kill 4711, rm -rf the folder
//! ```

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// `$1` is the folder. A process that is being killed may still write, so its end is awaited.
const SCRIPT: &str = r#"
pid=
while read -r line; do pid=$line; done
if [ -n "$pid" ]; then
    kill -KILL "$pid" 2>/dev/null
    while kill -0 "$pid" 2>/dev/null; do sleep 0.05; done
fi
rm -rf -- "$1"
"#;

/// The shell beside a server.
pub(crate) struct Caretaker {
    shell: Child,
    /// Closed by the drop, and by the end of this program.
    orders: Option<ChildStdin>,
}

impl Caretaker {
    /// Takes care of a folder, and of no process yet.
    pub(crate) fn of(folder: &Path) -> io::Result<Caretaker> {
        let mut shell = Command::new("sh")
            .args(["-c", SCRIPT, "caretaker"])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let orders = shell.stdin.take();
        Ok(Caretaker { shell, orders })
    }

    /// This process runs now.
    pub(crate) fn runs(&mut self, pid: u32) -> io::Result<()> {
        self.tell(&pid.to_string())
    }

    /// None runs any more. To be said once the process has been waited for: its number may then
    /// become another's.
    pub(crate) fn has_ended(&mut self) -> io::Result<()> {
        self.tell("")
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        let Some(orders) = &mut self.orders else { return Ok(()) };
        orders.write_all(format!("{line}\n").as_bytes())
    }
}

impl Drop for Caretaker {
    fn drop(&mut self) {
        // It removes the folder and ends.
        drop(self.orders.take());
        let _ = self.shell.wait();
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::Caretaker;

    #[test]
    fn what_runs_is_killed_and_the_folder_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("file"), "text").unwrap();
        let sleeper = || Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let (mut ended, mut running) = (sleeper(), sleeper());
        let mut caretaker = Caretaker::of(folder.path()).unwrap();
        caretaker.runs(ended.id()).unwrap();
        caretaker.has_ended().unwrap();
        caretaker.runs(running.id()).unwrap();
        // A zombie counts as a process that runs: somebody must wait for it, as init does where
        // this program has ended.
        let waiting = std::thread::spawn(move || running.wait().unwrap());
        drop(caretaker);
        assert!(!waiting.join().unwrap().success());
        assert!(!folder.path().exists());
        assert!(ended.try_wait().unwrap().is_none(), "it has not been told to kill this one");
        ended.kill().unwrap();
        ended.wait().unwrap();
    }

    #[test]
    fn where_nothing_runs_only_the_folder_goes() {
        let folder = tempfile::tempdir().unwrap();
        let mut caretaker = Caretaker::of(folder.path()).unwrap();
        let mut ended = Command::new("sleep").arg("1000").spawn().unwrap();
        caretaker.runs(ended.id()).unwrap();
        caretaker.has_ended().unwrap();
        drop(caretaker);
        assert!(!folder.path().exists());
        assert!(ended.try_wait().unwrap().is_none());
        ended.kill().unwrap();
        ended.wait().unwrap();
    }
}
