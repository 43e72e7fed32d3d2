//! A disk that a test can fill: some megabytes of memory, for tests of this crate and of those
//! above it.
//!
//! To mount it, the test starts itself again in a mount namespace of its own. So it needs no rights
//! over the machine, and nothing stays mounted however it ends.

use std::path::PathBuf;
use std::process::Command;

/// Names the disk to the inner run.
const DISK: &str = "NEOKV_TEST_SMALL_DISK";

/// The disk, in the inner run. The outer one starts it, waits for it and gets nothing. `test` is
/// the path of the calling test in its program.
pub(crate) fn small_disk(test: &str, megabytes: u32) -> Option<PathBuf> {
    if let Some(disk) = std::env::var_os(DISK) {
        return Some(disk.into());
    }
    let disk = tempfile::tempdir().unwrap();
    let script = format!(
        "mount -t tmpfs -o size={megabytes}m tmpfs {disk} || exit 99
         export {DISK}={disk}
         exec \"$0\" \"$@\"",
        disk = disk.path().display()
    );
    let output = Command::new("unshare")
        .args(["--mount", "--map-root-user", "sh", "-c", &script])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .output();
    match output {
        Ok(output) if output.status.success() => {
            // A wrong path selects no test, and that is no failure of the inner run.
            let said = String::from_utf8_lossy(&output.stdout);
            assert!(said.contains("test result: ok. 1 passed"), "there is no test {test}: {said}");
        }
        Ok(output) if !matches!(output.status.code(), Some(1 | 99)) || may_mount() => panic!(
            "the run on the small disk ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) if may_mount() => panic!("the run on the small disk did not start: {error}"),
        _ => eprintln!("not run: this machine gives no mount namespaces"),
    }
    None
}

fn may_mount() -> bool {
    let disk = tempfile::tempdir().unwrap();
    Command::new("unshare")
        .args(["--mount", "--map-root-user", "mount", "-t", "tmpfs", "tmpfs"])
        .arg(disk.path())
        .status()
        .is_ok_and(|status| status.success())
}
