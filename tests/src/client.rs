//! A blocking client that hides nothing: one socket, replies as they came.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use bytes::BytesMut;
use neokv_resp::client::{Value, decode, encode_command};

/// How long a reply may take before the test is told; long, for machines that are busy with other
/// work.
const REPLY_PATIENCE: Duration = Duration::from_secs(120);

/// One connection to a server that speaks RESP.
pub struct Connection {
    socket: TcpStream,
    input: BytesMut,
    output: BytesMut,
}

impl Connection {
    /// Connects to a port on loopback.
    pub fn open(port: u16) -> io::Result<Connection> {
        let socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(REPLY_PATIENCE))?;
        Ok(Connection { socket, input: BytesMut::new(), output: BytesMut::new() })
    }

    /// Sends one command and waits for its reply.
    pub fn call(&mut self, args: &[impl AsRef<[u8]>]) -> io::Result<Value> {
        self.send(args)?;
        self.receive()
    }

    /// Sends one command written as words, as at a prompt: `connection.words("SET a 1")`.
    pub fn words(&mut self, line: &str) -> io::Result<Value> {
        self.call(&line.split_whitespace().collect::<Vec<_>>())
    }

    /// Adds a command to what [`Connection::flush`] sends.
    pub fn queue(&mut self, args: &[impl AsRef<[u8]>]) {
        encode_command(args, &mut self.output);
    }

    /// Sends the queued commands.
    pub fn flush(&mut self) -> io::Result<()> {
        self.socket.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Sends one command without waiting.
    pub fn send(&mut self, args: &[impl AsRef<[u8]>]) -> io::Result<()> {
        self.queue(args);
        self.flush()
    }

    /// Sends bytes as they are, for tests of broken input.
    pub fn send_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes)
    }

    /// Waits for the next reply.
    pub fn receive(&mut self) -> io::Result<Value> {
        loop {
            let reply = decode(&mut self.input)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            if let Some(value) = reply {
                return Ok(value);
            }
            let mut chunk = [0; 64 * 1024];
            match self.socket.read(&mut chunk)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.input.extend_from_slice(chunk.get(..read).unwrap_or_default()),
            }
        }
    }

    /// The socket itself, for tests that close or stall it.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }
}
