//! Measures the machine that a server runs on: its disk, its room, and what keeps its clock.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chathook_domain::checkup::Synchronized;
use chathook_engine::ports::clock::Clock as _;

use crate::system::RealClock;

/// A page of the store, which is what a small commit writes at least.
const PAGE: [u8; 4_096] = [0x5a; 4_096];
/// Pages that are written over and over, as those of a write-ahead log are.
const PAGES: usize = 64;
/// A slow disk is measured by fewer syncs.
const MEASURE_US_MAX: i64 = 5_000_000;
/// systemd-timesyncd makes it once the clock is synchronized (systemd-timesyncd.service(8)).
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";
const ASK_MS_MAX: i64 = 2_000;
const ASK_STEP: Duration = Duration::from_millis(10);

/// How long each of up to `count` syncs of one page takes on the disk of `dir`, in microseconds, by a file
/// that is gone afterwards.
pub fn sync_times(dir: &Path, count: usize) -> io::Result<Vec<u64>> {
    let path = dir.join(format!("chathook.sync-test.{}", std::process::id()));
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    // Nothing is left of it, however this ends.
    fs::remove_file(&path)?;
    let clock = RealClock::new();
    let mut times = Vec::with_capacity(count);
    let mut measure = || {
        for round in 0..count {
            let at = u64::try_from(round % PAGES * PAGE.len()).unwrap_or_default();
            let began = clock.ticks_us();
            file.write_all_at(&PAGE, at)?;
            file.sync_data()?;
            times.push((clock.ticks_us() - began).unsigned_abs());
            if clock.ticks_us() > MEASURE_US_MAX {
                break;
            }
        }
        Ok(())
    };
    let measured: io::Result<()> = measure();
    measured.map(|()| times)
}

/// Bytes that this user may still write on the disk of `dir`.
pub fn free_bytes(dir: &Path) -> io::Result<u64> {
    let disk = rustix::fs::statvfs(dir)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// The permission bits of a file; `None` where there is none.
pub fn mode(path: &Path) -> io::Result<Option<u32>> {
    match fs::metadata(path) {
        Ok(file) => Ok(Some(file.permissions().mode())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether the system says that NTP keeps its clock.
#[must_use]
pub fn synchronized() -> Synchronized {
    if Path::new(SYNCHRONIZED).exists() {
        return Synchronized::Yes;
    }
    match ask("timedatectl", &["show", "--property=NTPSynchronized", "--value"]).as_deref() {
        Some("yes") => Synchronized::Yes,
        Some("no") => Synchronized::No,
        Some(_) | None => Synchronized::Unknown,
    }
}

/// The first line that a program says, if it is there and says it soon.
fn ask(program: &str, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let clock = RealClock::new();
    while child.try_wait().ok()?.is_none() {
        if clock.ticks() > ASK_MS_MAX {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(ASK_STEP);
    }
    let output = child.wait_with_output().ok()?;
    let said = String::from_utf8(output.stdout).ok().filter(|_| output.status.success())?;
    said.lines().next().map(|line| line.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_is_measured_and_nothing_is_left_on_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let times = sync_times(dir.path(), 20).expect("measured");
        assert!(!times.is_empty() && times.len() <= 20);
        assert_eq!(fs::read_dir(dir.path()).expect("there").count(), 0);
        assert!(free_bytes(dir.path()).expect("asked") > 0);
        assert!(sync_times(&dir.path().join("absent"), 1).is_err());
    }

    #[test]
    fn a_program_that_is_not_there_or_fails_says_nothing() {
        assert_eq!(ask("chathook-has-no-such-program", &[]), None);
        assert_eq!(ask("false", &[]), None);
        assert_eq!(ask("echo", &["yes"]).as_deref(), Some("yes"));
    }
}
