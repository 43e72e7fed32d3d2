//! Starts the real `neokv` on a free port in a directory of its own, and speaks to it.
//!
//! A [`Server`] kills its child by the child's own id when it is dropped, also when a test panics.
//! The deadlines here end a test that would hang. No test measures how fast something is.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use bytes::BytesMut;
use neokv_resp::client::{Value, decode, encode_command};

/// How long a test waits for anything before it fails.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// A running server.
pub struct Server {
    child: Child,
    /// The port from its NEOKV_READY line.
    pub port: u16,
    /// Lines of stderr, as they come.
    log: mpsc::Receiver<String>,
}

/// A command for `neokv` that inherits no configuration from whoever runs the tests.
pub fn neokv(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_neokv"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("NEOKV_")) {
        command.env_remove(name);
    }
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

impl Server {
    /// Starts a server on `dir` and a free port, and waits until it serves.
    pub fn start(dir: &Path, args: &[&str]) -> Server {
        let mut command = neokv(&["--port", "0", "--dir", dir.to_str().expect("UTF-8")]);
        let mut child = command.args(args).spawn().expect("spawn neokv");
        let log = lines(child.stderr.take().expect("piped"));
        let stdout = lines(child.stdout.take().expect("piped"));
        let mut server = Server { child, port: 0, log };
        let ready = stdout.recv_timeout(DEADLINE);
        let port = ready
            .ok()
            .as_deref()
            .and_then(|line| line.strip_prefix("NEOKV_READY port=")?.parse().ok());
        server.port =
            port.unwrap_or_else(|| panic!("not ready; its log:\n{}", server.rest_of_log()));
        server
    }

    /// A new connection.
    pub fn connect(&self) -> Client {
        Client::connect(self.port)
    }

    /// Sends a signal, by name as kill(1) takes it.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status();
        assert!(status.expect("kill").success());
    }

    /// Waits for the end of the process and gives its exit code.
    pub fn wait(mut self) -> ExitStatus {
        wait(&mut self.child)
    }

    /// Waits for a line of stderr that contains `text`.
    pub fn wait_for_log(&self, text: &str) -> String {
        let mut seen = String::new();
        while let Ok(line) = self.log.recv_timeout(DEADLINE) {
            if line.contains(text) {
                return line;
            }
            seen.push_str(&line);
            seen.push('\n');
        }
        panic!("no line with {text:?} in the log:\n{seen}");
    }

    fn rest_of_log(&mut self) -> String {
        let _gone = self.child.kill();
        self.log.iter().map(|line| line + "\n").collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Both fail only if the process has ended already, which is what is wanted.
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Waits for the end of `child`, at most until the deadline.
pub fn wait(child: &mut Child) -> ExitStatus {
    let give_up = std::time::Instant::now() + DEADLINE;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return status;
        }
        if std::time::Instant::now() >= give_up {
            // Both fail only if it has ended after all.
            let _gone = child.kill();
            let _reaped = child.wait();
            panic!("neokv does not end");
        }
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Runs `neokv` to its end: exit code, stdout, stderr. For calls that do not serve.
pub fn run(args: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let mut command = neokv(args);
    command.envs(environment.iter().copied());
    let mut child = command.spawn().expect("spawn neokv");
    let stdout = lines(child.stdout.take().expect("piped"));
    let stderr = lines(child.stderr.take().expect("piped"));
    let status = wait(&mut child);
    let text = |lines: mpsc::Receiver<String>| lines.iter().map(|line| line + "\n").collect();
    (status.code(), text(stdout), text(stderr))
}

/// The lines of a stream, read on a thread of their own so that the writer never blocks.
fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    receiver
}

/// One connection that speaks RESP.
pub struct Client {
    stream: TcpStream,
    input: BytesMut,
}

impl Client {
    /// Connects to a port of this machine.
    pub fn connect(port: u16) -> Client {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("connect");
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout");
        Client { stream, input: BytesMut::new() }
    }

    /// Sends one command, its words separated by blanks, and waits for the reply.
    pub fn call(&mut self, line: &str) -> Value {
        self.send(&[line]);
        self.reply().expect("a reply")
    }

    /// Sends commands without waiting.
    pub fn send(&mut self, lines: &[&str]) {
        for line in lines {
            self.send_words(&line.split(' ').collect::<Vec<_>>());
        }
    }

    /// Sends one command whose words may hold blanks.
    pub fn send_words(&mut self, words: &[&str]) {
        let mut out = BytesMut::new();
        encode_command(words, &mut out);
        self.stream.write_all(&out).expect("send");
    }

    /// The next reply; `None` if the server closed the connection.
    pub fn reply(&mut self) -> Option<Value> {
        loop {
            if let Some(value) = decode(&mut self.input).expect("valid RESP") {
                return Some(value);
            }
            let mut chunk = [0; 16 << 10];
            match self.stream.read(&mut chunk) {
                Ok(0) | Err(_) => return None,
                Ok(count) => self.input.extend_from_slice(&chunk[..count]),
            }
        }
    }
}

/// The text of a value that is text.
pub fn text(value: &Value) -> &str {
    value.as_text().unwrap_or_else(|| panic!("expected text, got {value:?}"))
}
