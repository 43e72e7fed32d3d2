//! Servers as real processes: `neokv`, and `redis-server` to compare it with.
//!
//! Each server owns a temporary folder, listens on a port of its own on loopback, and is stopped by
//! its process id when the [`Server`] is dropped, also when a test panics; where the program is
//! interrupted, a `Caretaker` does it. A server that must survive a restart keeps its folder:
//!
//! ```no_run
//! let mut server = neokv_tests::process::Server::neokv(&[])?;
//! server.kill()?; // SIGKILL, as a power cut of the process
//! server.restart()?;
//! # Ok::<(), std::io::Error>(())
//! ```

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::caretaker::Caretaker;
use crate::client::Connection;

/// How long a server may take until it serves, or until it has stopped.
const PATIENCE: Duration = Duration::from_secs(60);

/// The line that the server prints once it serves begins so.
const READY: &str = "NEOKV_READY";

/// Which program a [`Server`] runs.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Program {
    /// The `neokv` at this path.
    Neokv(PathBuf),
    Redis,
}

/// A running (or killed, and to be restarted) server process.
pub struct Server {
    program: Program,
    /// Variables of its environment.
    environment: Vec<(String, OsString)>,
    extra: Vec<String>,
    /// Before the folder: it removes it too.
    caretaker: Caretaker,
    folder: TempDir,
    data: PathBuf,
    port: u16,
    child: Option<Child>,
    /// Held open so that the server can go on writing to its standard output.
    stdout: Option<BufReader<ChildStdout>>,
}

impl Server {
    /// Starts `neokv` on a free port with an empty directory and these further arguments, and waits
    /// until it serves.
    pub fn neokv(extra: &[&str]) -> io::Result<Server> {
        Server::start(Program::Neokv(neokv_binary()?), &[], extra, None)
    }

    /// As [`Server::neokv`], but of another build: the `neokv` at this path.
    pub fn neokv_at(binary: &Path, extra: &[&str]) -> io::Result<Server> {
        Server::start(Program::Neokv(binary.to_path_buf()), &[], extra, None)
    }

    /// As [`Server::neokv`], with these variables in its environment; see
    /// [`Server::clear_environment`].
    pub fn neokv_under(environment: &[(&str, &OsStr)], extra: &[&str]) -> io::Result<Server> {
        Server::start(Program::Neokv(neokv_binary()?), environment, extra, None)
    }

    /// As [`Server::neokv`], with its data in `dir`, which the caller owns.
    pub fn neokv_in(dir: &Path, extra: &[&str]) -> io::Result<Server> {
        Server::start(Program::Neokv(neokv_binary()?), &[], extra, Some(dir))
    }

    /// Starts `redis-server` in memory with these further arguments (`--appendonly yes`, ...).
    pub fn redis(extra: &[&str]) -> io::Result<Server> {
        Server::start(Program::Redis, &[], extra, None)
    }

    fn start(
        program: Program,
        environment: &[(&str, &OsStr)],
        extra: &[&str],
        dir: Option<&Path>,
    ) -> io::Result<Server> {
        let folder = TempDir::with_prefix("neokv-test-")?;
        let data = dir.map_or_else(|| folder.path().join("data"), Path::to_path_buf);
        let extra = extra.iter().map(ToString::to_string).collect();
        let environment =
            environment.iter().map(|(name, value)| ((*name).to_owned(), value.into())).collect();
        let mut server = Server {
            program,
            environment,
            extra,
            caretaker: Caretaker::of(folder.path())?,
            folder,
            data,
            port: 0,
            child: None,
            stdout: None,
        };
        server.restart()?;
        Ok(server)
    }

    /// Starts the process again, on the same data and, where it can be had, the same port.
    pub fn restart(&mut self) -> io::Result<()> {
        self.stop_now()?;
        match self.program.clone() {
            Program::Neokv(binary) => self.start_neokv(&binary),
            Program::Redis => self.start_redis(),
        }
    }

    /// Starts `neokv` again and kills it after this time, however far it has come; `true` if it
    /// served by then. A process that ends by itself before is an error.
    pub fn start_and_kill(&mut self, after: Duration) -> io::Result<bool> {
        self.stop_now()?;
        let Program::Neokv(binary) = self.program.clone() else {
            return Err(io::Error::other("only neokv tells when it serves"));
        };
        let mut stdout = self.spawn_neokv(&binary)?;
        std::thread::sleep(after);
        self.signal(Signal::KILL)?;
        let status = self.wait()?;
        let mut said = String::new();
        stdout.read_to_string(&mut said)?;
        if status.signal() == Some(Signal::KILL.as_raw()) {
            return Ok(said.contains(READY));
        }
        Err(io::Error::other(format!("neokv ended by itself ({status}):\n{}", self.log())))
    }

    /// The next start is with these further arguments instead of those given at the first.
    pub fn set_arguments(&mut self, extra: &[&str]) {
        self.extra = extra.iter().map(ToString::to_string).collect();
    }

    /// The next start is without the variables given at the first.
    pub fn clear_environment(&mut self) {
        self.environment.clear();
    }

    fn start_neokv(&mut self, binary: &Path) -> io::Result<()> {
        let mut stdout = self.spawn_neokv(binary)?;
        let mut line = String::new();
        // The server prints this line once it serves; an end of file before it means that it has
        // given up.
        while !line.starts_with(READY) {
            line.clear();
            if stdout.read_line(&mut line)? == 0 {
                return Err(io::Error::other(format!(
                    "neokv did not become ready:\n{}",
                    self.log()
                )));
            }
        }
        let port = line.trim().rsplit_once("port=").and_then(|(_, port)| port.parse().ok());
        self.port =
            port.ok_or_else(|| io::Error::other(format!("no port in `{}`", line.trim())))?;
        self.stdout = Some(stdout);
        Ok(())
    }

    /// Starts the process and gives its standard output.
    fn spawn_neokv(&mut self, binary: &Path) -> io::Result<BufReader<ChildStdout>> {
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut child = Command::new(binary)
            .arg("--dir")
            .arg(&self.data)
            .args(["--port", &self.port.to_string()])
            .args(&self.extra)
            .env_remove("NEOKV_CONFIG")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let stdout = child.stdout.take();
        self.caretaker.runs(child.id())?;
        self.child = Some(child);
        stdout.map(BufReader::new).ok_or_else(|| io::Error::other("no standard output"))
    }

    fn start_redis(&mut self) -> io::Result<()> {
        std::fs::create_dir_all(&self.data)?;
        if self.port == 0 {
            self.port = free_port()?;
        }
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .arg("--dir")
            .arg(&self.data)
            .args(&self.extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("redis-server (Debian: redis-server): {error}"),
                )
            })?;
        self.caretaker.runs(child.id())?;
        self.child = Some(child);
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if Instant::now() > deadline || self.exited()?.is_some() {
                return Err(io::Error::other(format!(
                    "redis-server did not become ready:\n{}",
                    self.log()
                )));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// The port that clients connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id while the server runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The folder that holds the server's data.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What the server has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    fn log_path(&self) -> PathBuf {
        self.folder.path().join("server.log")
    }

    /// A new client connection.
    pub fn connect(&self) -> io::Result<Connection> {
        Connection::open(self.port)
    }

    /// Kills the process at once (SIGKILL) and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        self.signal(Signal::KILL)?;
        self.wait().map(drop)
    }

    /// Asks the process to stop (SIGTERM) and waits for its exit status.
    pub fn terminate(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait()
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.pid().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| io::Error::other("the server does not run"))?;
        Ok(kill_process(pid, signal)?)
    }

    /// The exit status, once the process has ended by itself.
    pub fn exited(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.as_mut().map_or(Ok(None), Child::try_wait)
    }

    fn wait(&mut self) -> io::Result<ExitStatus> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.exited()? {
                self.child = None;
                self.caretaker.has_ended()?;
                // What the process still had to say is read, so that nothing is lost to a test that
                // asks.
                if let Some(mut stdout) = self.stdout.take() {
                    stdout.read_to_end(&mut Vec::new())?;
                }
                return Ok(status);
            }
            if Instant::now() > deadline {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "the server did not stop"));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn stop_now(&mut self) -> io::Result<()> {
        self.stdout = None;
        if let Some(mut child) = self.child.take() {
            // An error means that the process is gone already, which is what is wanted here.
            let _ = child.kill();
            let _ = child.wait();
            self.caretaker.has_ended()?;
        }
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The caretaker has ended if it cannot be told, and then it has nothing left to kill.
        let _ = self.stop_now();
    }
}

/// The `neokv` program of this build: the build folder that this test program lies in.
pub fn neokv_binary() -> io::Result<PathBuf> {
    built_binary("neokv")
}

/// A program of this workspace by name, as `cargo build --workspace` has put it beside the tests.
pub fn built_binary(name: &str) -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    own.ancestors()
        .skip(1)
        .take(2)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .ok_or_else(|| {
            io::Error::new(
                io::ErrorKind::NotFound,
                format!("`{name}` is not built: run `cargo build --workspace` first"),
            )
        })
}

/// A port that nobody listens on now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}
