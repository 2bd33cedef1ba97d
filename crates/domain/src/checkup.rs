//! Whether the server's own machine is fit for it: what was measured becomes findings with their cures.

use crate::finding::Finding;
use crate::fitness::{Certificate, DAYS_LEFT_MIN};
use crate::ids::Time;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const HOUR_MS: i64 = 60 * 60 * 1_000;

/// Each commit waits for one sync of the disk: at 5 ms a sender waits noticeably, and a single writer comes to
/// 200 commits a second.
const SYNC_P50_US_MAX: u64 = 5_000;
const SYNC_P99_US_MAX: u64 = 50_000;
/// No disk that keeps what it was told answers sooner; memory file systems do.
const SYNC_P50_US_MIN: u64 = 10;
const ROOM_MIN: u64 = GIB;
const ROOM_LEAST: u64 = 100 * MIB;
/// The log is kept near 64 MiB; far more means that it is not taken into the database.
const LOG_MAX: u64 = 512 * MIB;
/// With fewer places a busy chat turns clients away.
const CLIENTS_MIN: usize = 400;
/// The start of the year in which this was written: no clock that shows an earlier time is right.
const CLOCK_EARLIEST: Time = Time::from_ms(1_767_225_600_000);
const CLOCK_BEHIND_MS_MAX: i64 = 5_000;
const CLOCK_JUMP_MS_MAX: i64 = 500;

/// How long the disk took for each of some syncs, in microseconds.
#[must_use]
pub fn disk(syncs_us: &[u64]) -> Finding {
    const ABOUT: &str = "disk sync";
    let mut sorted = syncs_us.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1))).copied()
    };
    let (Some(p50), Some(p99)) = (at(50), at(99)) else {
        return Finding::note(ABOUT, "not measured");
    };
    let seen = format!("fdatasync takes {} (p50), {} (p99), of {}", millis(p50), millis(p99), sorted.len());
    if p50 < SYNC_P50_US_MIN {
        let cure =
            "Put the data directory on a disk: a memory file system forgets all that was acknowledged.";
        return Finding::warning(ABOUT, format!("{seen}: too quick for a disk"), cure);
    }
    if p50 > SYNC_P50_US_MAX || p99 > SYNC_P99_US_MAX {
        let cure = "Every message waits for it. Put the data directory on an SSD of its own, or stop what else \
                    writes to this disk.";
        return Finding::warning(ABOUT, format!("{seen}: slow"), cure);
    }
    Finding::ok(ABOUT, seen)
}

/// Bytes free for the server's user, beside those that the store takes.
#[must_use]
pub fn room(free: u64, store: u64) -> Finding {
    const ABOUT: &str = "room";
    let seen = format!("{} free, the store takes {}", bytes(free), bytes(store));
    let cure = "Make room, or move the data directory: a full disk stops every send.";
    if free < ROOM_LEAST {
        return Finding::failure(ABOUT, seen, cure);
    }
    if free < ROOM_MIN.max(store / 4) {
        return Finding::warning(ABOUT, seen, cure);
    }
    Finding::ok(ABOUT, seen)
}

/// The shares that the server makes of its file handles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Handles {
    pub limit: usize,
    pub clients: usize,
    pub attempts: usize,
    pub idle_connections: usize,
    /// The least of each; what has no more is not fit for work.
    pub share_min: usize,
}

#[must_use]
pub fn handles(handles: Handles) -> Finding {
    const ABOUT: &str = "file handles";
    let Handles { limit, clients, attempts, idle_connections, share_min } = handles;
    let seen = format!(
        "{limit}: {clients} for clients, {attempts} for attempts, {idle_connections} for connections kept open"
    );
    let cure = "Raise the limit of the service: LimitNOFILE=65536 for systemd, ulimit -n 65536 for a shell.";
    if clients <= share_min {
        return Finding::failure(ABOUT, seen, cure);
    }
    if clients < CLIENTS_MIN {
        return Finding::warning(ABOUT, seen, cure);
    }
    Finding::ok(ABOUT, seen)
}

/// The wall clock against the newest row of the store.
#[must_use]
pub fn clock(now: Time, newest: Option<Time>) -> Finding {
    const ABOUT: &str = "clock";
    let cure = "Set the clock, and let NTP keep it (systemd-timesyncd or chrony).";
    if now < CLOCK_EARLIEST {
        return Finding::failure(ABOUT, "shows a time before 2026", cure);
    }
    let Some(newest) = newest else {
        return Finding::ok(ABOUT, "shows a plausible time");
    };
    let behind_ms = newest.ms - now.ms;
    if behind_ms > CLOCK_BEHIND_MS_MAX {
        let seen = format!("stands {} before the newest row of the store", span(behind_ms));
        return Finding::warning(ABOUT, seen, cure);
    }
    Finding::ok(ABOUT, format!("the newest row of the store is {} old", span(-behind_ms)))
}

/// Whether something keeps the clock right.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Synchronized {
    Yes,
    No,
    Unknown,
}

#[must_use]
pub fn synchronized(is: Synchronized) -> Finding {
    const ABOUT: &str = "clock sync";
    match is {
        Synchronized::Yes => Finding::ok(ABOUT, "synchronized by NTP"),
        Synchronized::No => Finding::warning(
            ABOUT,
            "not synchronized by NTP",
            "Start systemd-timesyncd or chrony: receivers refuse signatures whose time is minutes off.",
        ),
        Synchronized::Unknown => Finding::note(ABOUT, "unknown: the system does not tell"),
    }
}

/// How far the wall clock and the monotonic one went during this check.
#[must_use]
pub fn steadiness(wall_ms: i64, monotonic_ms: i64) -> Finding {
    const ABOUT: &str = "clock steadiness";
    let jump_ms = wall_ms - monotonic_ms;
    if monotonic_ms < 0 || jump_ms.abs() > CLOCK_JUMP_MS_MAX {
        let seen = format!("jumped by {jump_ms} ms while the monotonic clock went on by {monotonic_ms} ms");
        return Finding::warning(ABOUT, seen, "Find out what sets the clock; let NTP slew it instead.");
    }
    Finding::ok(ABOUT, format!("both clocks went on together for {monotonic_ms} ms"))
}

/// What stands at an address that the server is to listen on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Port {
    Free,
    /// A chathook answers there.
    Chathook,
    Stranger,
    /// Something does, over TLS with a certificate that does not name the address, so that nobody can tell what.
    Untold,
    /// The system refuses it.
    Refused(String),
}

/// Whether a server uses this data directory now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Running {
    Yes,
    No,
}

/// An address to listen on; `about` is the setting that names it.
#[must_use]
pub fn port(about: &str, address: &str, port: &Port, running: Running) -> Finding {
    match (port, running) {
        (Port::Free, Running::No) => Finding::ok(about, format!("{address} can be listened on")),
        (Port::Free, Running::Yes) => Finding::note(
            about,
            format!("{address} is free, though a server uses this data directory: it listens elsewhere"),
        ),
        (Port::Chathook, Running::Yes) => Finding::ok(about, format!("the server answers at {address}")),
        (Port::Chathook, Running::No) => Finding::failure(
            about,
            format!("{address} is taken by a chathook with another data directory"),
            format!("Stop that one, or name another address with --{about}."),
        ),
        (Port::Untold, Running::Yes) => Finding::note(
            about,
            format!("{address} is taken, most likely by the server that uses this data directory"),
        ),
        (Port::Stranger, _) | (Port::Untold, Running::No) => Finding::failure(
            about,
            format!("{address} is taken by something that does not answer as chathook does"),
            format!("Stop what listens there, or name another address with --{about}."),
        ),
        (Port::Refused(why), _) => Finding::failure(
            about,
            format!("{address} cannot be listened on: {why}"),
            format!("Name an address of this machine with --{about}, with a port of 1024 or more."),
        ),
    }
}

/// What a look into the store found, without a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreSeen {
    pub bytes: u64,
    pub log_bytes: u64,
    pub schema: Schema,
    pub check: Check,
    pub waiting: Waiting,
    pub newest: Option<Time>,
}

/// The schema of a database, against the one of this version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schema {
    Current,
    /// This many steps are missing; the next start makes them.
    Older(usize),
    /// A step that this version does not know.
    Newer(i64),
    /// A step that is not the one this version has under that number.
    Changed(i64),
    /// No chathook has used this database.
    Foreign,
}

/// What SQLite said of its pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Check {
    Whole,
    /// The time was over before it was through.
    Unfinished,
    /// It could not be looked at, which says nothing of its pages.
    Unreadable(String),
    Broken(String),
}

/// Deliveries that wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiting {
    pub count: u64,
    /// At least that many: no more were counted.
    pub is_cut: bool,
    pub oldest: Option<Time>,
}

#[must_use]
pub fn store(seen: &StoreSeen, now: Time) -> Vec<Finding> {
    match seen.check {
        Check::Whole | Check::Unfinished => {
            vec![integrity(seen), schema(&seen.schema), log(seen.log_bytes), waiting(seen.waiting, now)]
        }
        // Of the rest nothing is known.
        Check::Unreadable(_) | Check::Broken(_) => vec![integrity(seen)],
    }
}

fn integrity(seen: &StoreSeen) -> Finding {
    const ABOUT: &str = "store";
    let size = bytes(seen.bytes);
    match &seen.check {
        Check::Whole => Finding::ok(ABOUT, format!("whole, {size}")),
        Check::Unfinished => {
            Finding::note(ABOUT, format!("{size}, no damage in what the time was enough for"))
        }
        Check::Unreadable(why) => Finding::failure(
            ABOUT,
            format!("cannot be read: {why}"),
            "Run this as the user of the server, who may read and write the data directory.",
        ),
        Check::Broken(why) => Finding::failure(
            ABOUT,
            format!("damaged: {why}"),
            "Stop the server, keep a copy of the data directory, and put the last backup in place with \
             'chathook restore'.",
        ),
    }
}

/// The schema of a store, or of a backup that is to become one.
#[must_use]
pub fn schema(schema: &Schema) -> Finding {
    const ABOUT: &str = "schema";
    match schema {
        Schema::Current => Finding::ok(ABOUT, "that of this version"),
        Schema::Older(steps) => {
            Finding::note(ABOUT, format!("of an older version: the next start makes {steps} steps"))
        }
        Schema::Newer(step) => Finding::failure(
            ABOUT,
            format!("of a newer version: step {step} is unknown here"),
            "Use the version of chathook that made it, or a newer one.",
        ),
        Schema::Changed(step) => Finding::failure(
            ABOUT,
            format!("step {step} is not the one that this version has"),
            "Use the very version of chathook that made it.",
        ),
        Schema::Foreign => {
            Finding::failure(ABOUT, "no database of chathook", "Name another file or data directory.")
        }
    }
}

/// Whether the master key is the one that sealed the store's secrets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyFit {
    Right,
    Wrong,
    /// Nothing is sealed yet.
    NothingSealed,
}

/// Where the master key is found; `None` where it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyPlace {
    Environment,
    File,
}

/// The master key beside a store that cannot be read.
#[must_use]
pub fn master_key_untried() -> Finding {
    Finding::note("master key", "not tried, as the store cannot be read")
}

/// The master key at hand, beside a store whose secrets it should open; `fit` is `None` where there is no store.
#[must_use]
pub fn master_key(place: Option<KeyPlace>, fit: Option<KeyFit>) -> Finding {
    const ABOUT: &str = "master key";
    let Some(place) = place else {
        return match fit {
            None | Some(KeyFit::NothingSealed) => Finding::note(ABOUT, "none yet: the first start makes one"),
            Some(KeyFit::Right | KeyFit::Wrong) => Finding::failure(
                ABOUT,
                "missing, and the store does not open without it",
                "Put master.key back into the data directory, with mode 0600, or set CHATHOOK_MASTER_KEY.",
            ),
        };
    };
    let from = match place {
        KeyPlace::Environment => "that of CHATHOOK_MASTER_KEY",
        KeyPlace::File => "that of master.key",
    };
    match fit {
        None | Some(KeyFit::NothingSealed) => {
            Finding::ok(ABOUT, format!("{from}; nothing is sealed under it yet"))
        }
        Some(KeyFit::Right) => Finding::ok(ABOUT, format!("{from} opens the store")),
        Some(KeyFit::Wrong) => Finding::failure(
            ABOUT,
            format!("{from} is not the one this store was made with"),
            "Put the right master.key into the data directory, or set CHATHOOK_MASTER_KEY to the right one.",
        ),
    }
}

fn log(log_bytes: u64) -> Finding {
    const ABOUT: &str = "write-ahead log";
    if log_bytes > LOG_MAX {
        return Finding::warning(
            ABOUT,
            format!("{}: it is not taken into the database", bytes(log_bytes)),
            "End what reads the database for long (a backup, an open sqlite3); else restart the server.",
        );
    }
    Finding::ok(ABOUT, bytes(log_bytes))
}

fn waiting(waiting: Waiting, now: Time) -> Finding {
    const ABOUT: &str = "waiting deliveries";
    let Some(oldest) = waiting.oldest else {
        return Finding::ok(ABOUT, "none");
    };
    let age_ms = (now.ms - oldest.ms).max(0);
    let least = if waiting.is_cut { "at least " } else { "" };
    let seen = format!("{least}{}, the oldest for {}", waiting.count, span(age_ms));
    if age_ms > HOUR_MS {
        return Finding::warning(
            ABOUT,
            seen,
            "Look at why: 'chathook deliveries list WEBHOOK --status waiting' lists them, 'show' tells each answer.",
        );
    }
    Finding::ok(ABOUT, seen)
}

/// Who may read a file with a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readers {
    Owner,
    /// As keys of certificates are often given to a group of services.
    OwnerAndGroup,
}

/// A file with a secret: its permission bits.
#[must_use]
pub fn secret_file(about: &str, path: &str, mode: u32, readers: Readers) -> Finding {
    let mode = mode & 0o777;
    let (forbidden, right) = match readers {
        Readers::Owner => (0o077, "600"),
        Readers::OwnerAndGroup => (0o027, "640"),
    };
    if mode & forbidden != 0 {
        let seen = format!("{path} has mode {mode:04o}: others on this machine may use it");
        return Finding::failure(about, seen, format!("chmod {right} {path}"));
    }
    Finding::ok(about, format!("{path} has mode {mode:04o}"))
}

/// The directory of the store. What it holds is for the server's user alone.
#[must_use]
pub fn directory(about: &str, path: &str, mode: u32) -> Finding {
    let mode = mode & 0o777;
    let others = match mode {
        mode if mode & 0o022 != 0 => "put files into it",
        mode if mode & 0o077 != 0 => "look into it",
        _ => return Finding::ok(about, path.to_owned()),
    };
    let seen = format!("{path} has mode {mode:04o}: others may {others}");
    Finding::warning(about, seen, format!("chmod 700 {path}"))
}

/// The database. Nobody gets at it through a directory that is closed.
#[must_use]
pub fn database_file(about: &str, path: &str, mode: u32, directory_mode: u32) -> Finding {
    let mode = mode & 0o777;
    let seen = format!("{path} has mode {mode:04o}");
    if mode & 0o077 == 0 || directory_mode & 0o011 == 0 {
        return Finding::ok(about, seen);
    }
    let seen = format!("{seen}: others on this machine may read what people wrote");
    Finding::warning(about, seen, format!("chmod 600 {path}*"))
}

/// A certificate that the server shows, or trusts.
#[must_use]
pub fn certificate(about: &str, chain: &[Certificate], now: Time) -> Finding {
    let Some(soonest) = chain.iter().min_by_key(|one| one.not_after) else {
        return Finding::failure(about, "no certificate", "Put one into the file, in PEM.");
    };
    let days = soonest.days_left(now);
    let seen = format!("{}: {days} days left", soonest.subject);
    if days < 0 {
        return Finding::failure(
            about,
            format!("{}: expired", soonest.subject),
            "Renew it and restart the server.",
        );
    }
    if let Some(early) = chain.iter().find(|one| one.not_before > now) {
        let seen = format!("{}: not valid yet", early.subject);
        return Finding::failure(about, seen, "Check the clock, or wait until it is valid.");
    }
    if days < DAYS_LEFT_MIN {
        return Finding::warning(about, seen, "Renew it now, and restart the server.");
    }
    Finding::ok(about, seen)
}

fn millis(us: u64) -> String {
    format!("{}.{:02} ms", us / 1_000, us % 1_000 / 10)
}

/// Bytes in the largest unit that leaves a whole number, rounded down.
#[must_use]
pub fn bytes(count: u64) -> String {
    const KIB: u64 = 1 << 10;
    match count {
        0..KIB => format!("{count} bytes"),
        KIB..MIB => format!("{} KiB", count / KIB),
        MIB..GIB => format!("{} MiB", count / MIB),
        GIB.. => format!("{}.{} GiB", count / GIB, count % GIB * 10 / GIB),
    }
}

/// A span of time in a unit of which there are two at least, rounded down.
fn span(ms: i64) -> String {
    const UNITS: [(i64, &str); 4] = [(24 * HOUR_MS, "days"), (HOUR_MS, "h"), (60_000, "min"), (1_000, "s")];
    // Two of a unit say more than one of the next.
    let fits = |(unit_ms, _): &&(i64, &str)| ms >= 2 * unit_ms;
    let (unit_ms, unit) = UNITS.iter().find(fits).copied().unwrap_or((1, "ms"));
    format!("{} {unit}", ms / unit_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_store_that_others_may_read_is_warned_of() {
        let of = |mode| directory("data directory", "d", mode).grade;
        assert_eq!((of(0o40_700), of(0o40_500)), (Grade::Ok, Grade::Ok));
        for mode in [0o755, 0o750, 0o711, 0o770, 0o702] {
            assert_eq!(of(mode), Grade::Warning, "{mode:o}");
        }
        let of = |mode, directory| database_file("database file", "d/f", mode, directory).grade;
        assert_eq!((of(0o100_600, 0o755), of(0o644, 0o700)), (Grade::Ok, Grade::Ok));
        for (mode, directory) in [(0o644, 0o755), (0o640, 0o750), (0o604, 0o711)] {
            assert_eq!(of(mode, directory), Grade::Warning, "{mode:o} in {directory:o}");
        }
    }
    use crate::finding::{Grade, is_fit};

    const NOW: Time = Time::from_ms(1_800_000_000_000);

    #[test]
    fn a_disk_is_too_slow_or_too_quick_to_be_one() {
        let of = |us: u64| disk(&[us; 200]).grade;
        assert_eq!([1, 200, 5_000, 5_001].map(of), [Grade::Warning, Grade::Ok, Grade::Ok, Grade::Warning]);
        let mut with_tail = [300; 200];
        with_tail[..3].fill(60_000);
        assert_eq!(disk(&with_tail).grade, Grade::Warning);
        assert_eq!(disk(&[]).grade, Grade::Note);
    }

    #[test]
    fn room_is_judged_beside_what_the_store_takes() {
        assert_eq!(room(2 * GIB, GIB).grade, Grade::Ok);
        assert_eq!(room(2 * GIB, 40 * GIB).grade, Grade::Warning);
        assert_eq!(room(ROOM_LEAST - 1, 0).grade, Grade::Failure);
    }

    #[test]
    fn few_handles_are_warned_of_and_too_few_are_a_failure() {
        let of = |clients| {
            handles(Handles { limit: 1_024, clients, attempts: 1, idle_connections: 1, share_min: 16 }).grade
        };
        assert_eq!([16, 17, 399, 400].map(of), [Grade::Failure, Grade::Warning, Grade::Warning, Grade::Ok]);
    }

    #[test]
    fn a_clock_before_what_was_written_is_noticed() {
        assert_eq!(clock(NOW, Some(NOW.plus_ms(5_000))).grade, Grade::Ok);
        let behind = clock(NOW, Some(NOW.plus_ms(3 * HOUR_MS)));
        assert!(behind.grade == Grade::Warning && behind.seen.contains("3 h"), "{behind:?}");
        assert_eq!(clock(Time::from_ms(0), None).grade, Grade::Failure);
        assert_eq!(
            (steadiness(1_000, 990).grade, steadiness(-4_000, 990).grade),
            (Grade::Ok, Grade::Warning)
        );
    }

    #[test]
    fn a_store_is_unfit_when_it_is_damaged_or_not_of_this_version() {
        let whole = StoreSeen {
            bytes: 4_096,
            log_bytes: 0,
            schema: Schema::Current,
            check: Check::Whole,
            waiting: Waiting::default(),
            newest: None,
        };
        let is_fit = |seen: &StoreSeen| is_fit(&store(seen, NOW));
        assert!(is_fit(&whole) && is_fit(&StoreSeen { schema: Schema::Older(2), ..whole.clone() }));
        assert!(!is_fit(&StoreSeen { check: Check::Broken("page 3".to_owned()), ..whole.clone() }));
        for schema in [Schema::Newer(9), Schema::Changed(2), Schema::Foreign] {
            assert!(!is_fit(&StoreSeen { schema, ..whole.clone() }));
        }
        let old = Waiting { count: 3, is_cut: false, oldest: Some(NOW.plus_ms(-2 * HOUR_MS)) };
        let findings = store(&StoreSeen { waiting: old, ..whole }, NOW);
        assert!(
            findings.iter().any(|one| one.grade == Grade::Warning && one.seen.contains("oldest for 2 h"))
        );
    }

    #[test]
    fn a_secret_that_others_may_read_is_a_failure() {
        let of = |mode, readers| secret_file("master key", "k", mode, readers).grade;
        for mode in [0o100_600, 0o100_400] {
            assert_eq!(of(mode, Readers::Owner), Grade::Ok);
        }
        for mode in [0o640, 0o604, 0o660, 0o777] {
            assert_eq!(of(mode, Readers::Owner), Grade::Failure, "{mode:o}");
        }
        assert_eq!(of(0o640, Readers::OwnerAndGroup), Grade::Ok);
        for mode in [0o644, 0o660, 0o641] {
            assert_eq!(of(mode, Readers::OwnerAndGroup), Grade::Failure, "{mode:o}");
        }
    }
}
