//! What the kernel tells about a server's process.

use std::io;

use crate::process::Server;

/// Memory that is mapped and backed, bytes.
pub fn resident_bytes(server: &Server) -> io::Result<u64> {
    field(server, "status", "VmRSS:").map(|kilobytes| kilobytes * 1024)
}

/// Bytes that the process handed to the disk.
pub fn written_bytes(server: &Server) -> io::Result<u64> {
    field(server, "io", "write_bytes:")
}

/// Processor time in the program and in the kernel since the start, seconds.
pub fn processor_time(server: &Server) -> io::Result<f64> {
    let text = read(server, "stat")?;
    // The second field is the name in parentheses and may hold anything.
    let fields = text.rsplit_once(") ").map(|(_, rest)| rest.split(' ').skip(11));
    let ticks: Option<u64> = fields
        .and_then(|mut fields| fields.by_ref().take(2).map(|word| word.parse::<u64>().ok()).sum());
    let ticks = ticks.ok_or_else(|| io::Error::other(format!("not understood: {text}")))?;
    Ok(ticks as f64 / 100.0)
}

/// The number behind `name` in a file of the server's `/proc` folder.
fn field(server: &Server, file: &str, name: &str) -> io::Result<u64> {
    let text = read(server, file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number =
        line.and_then(|rest| rest.split_whitespace().next()).and_then(|number| number.parse().ok());
    number.ok_or_else(|| io::Error::other(format!("no `{name}` in {file}")))
}

fn read(server: &Server, file: &str) -> io::Result<String> {
    let pid = server.pid().ok_or_else(|| io::Error::other("the server does not run"))?;
    std::fs::read_to_string(format!("/proc/{pid}/{file}"))
}
