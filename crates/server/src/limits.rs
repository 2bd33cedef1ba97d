//! Divides the process' file handles among those who open many: connections that come in, attempts in
//! flight, `before_message` calls in flight, connections kept open to endpoints. What the store and all else need is set aside first.

use chathook_adapters::resolver::THREADS_MAX;

/// Where the system does not tell its limit, the smallest usual one is taken.
const HANDLES_USUAL: usize = 1_024;
/// The store: eight readers, the writer, a checkpoint and a backup, each with a database and its log.
const HANDLES_OF_STORE: usize = 32;
/// A look-up has a socket for each family of addresses.
const HANDLES_OF_LOOK_UP: usize = 2;
/// Listeners, the admin door's connections, the runtime, the log.
const HANDLES_OF_ALL_ELSE: usize = 64;
/// More would help no endpoint, and each holds buffers: an answer of up to 64 KiB, a TLS session.
const ATTEMPTS_MAX: usize = 2_048;
/// A call holds as much. Sixteen webhooks that hang may have all their own bounds allow.
const HOOK_CALLS_MAX: usize = 1_024;
const IDLE_CONNECTIONS_MAX: usize = 2_048;
/// Each is a person at work; more would be a mistake, and each may hold a few answers of up to 1 MiB.
const LISTENERS_MAX: usize = 64;
const LISTENERS_MIN: usize = 4;
/// With fewer nothing works; a limit that does not allow for them is the operator's to raise.
pub const SHARE_MIN: usize = 16;

/// How many of each the process takes. Together with what is set aside they fit the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// File handles that the system lets the process have.
    pub handles: usize,
    /// Connections of clients, sockets among them.
    pub connections: usize,
    /// Connections down which webhooks are delivered (`chathook listen`), beside those of clients.
    pub listeners: usize,
    /// Requests to endpoints in flight, over all webhooks.
    pub attempts: usize,
    /// Calls to `before_message` endpoints in flight, over all webhooks.
    pub hook_calls: usize,
    /// Connections kept open to endpoints between two requests, over all of them.
    pub idle_connections: usize,
}

impl Limits {
    /// The limits of this process.
    #[must_use]
    pub fn here() -> Self {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        Self::of(soft_limit(&limits).unwrap_or(HANDLES_USUAL))
    }

    /// A quarter of what can be divided is for attempts, a quarter for idle connections, an eighth for
    /// `before_message`, each up to what is of use; listeners get a few, and clients the rest.
    #[must_use]
    pub fn of(handles: usize) -> Self {
        let set_aside = HANDLES_OF_STORE + THREADS_MAX * HANDLES_OF_LOOK_UP + HANDLES_OF_ALL_ELSE;
        let left = handles.saturating_sub(set_aside);
        let attempts = (left / 4).clamp(SHARE_MIN, ATTEMPTS_MAX);
        let idle_connections = (left / 4).clamp(SHARE_MIN, IDLE_CONNECTIONS_MAX);
        let hook_calls = (left / 8).clamp(SHARE_MIN, HOOK_CALLS_MAX);
        let listeners = (left / 32).clamp(LISTENERS_MIN, LISTENERS_MAX);
        let taken = attempts + idle_connections + hook_calls + listeners;
        let connections = left.saturating_sub(taken).max(SHARE_MIN);
        Self { handles, connections, listeners, attempts, hook_calls, idle_connections }
    }
}

/// `Max open files` of `/proc/self/limits`; "unlimited" counts as not told.
fn soft_limit(limits: &str) -> Option<usize> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_fit_the_limit_and_all_work_with_1024_handles() {
        for handles in [256, 1_024, 4_096, 20_000, 1_048_576] {
            let limits = Limits::of(handles);
            let to_clients = limits.connections + limits.listeners;
            let shares = to_clients + limits.attempts + limits.hook_calls + limits.idle_connections;
            assert!(shares <= handles - 160, "{limits:?}");
            assert!(shares >= handles - 160 - 3, "nothing lies fallow: {limits:?}");
        }
        let usual = Limits::of(1_024);
        assert_eq!((usual.connections, usual.listeners, usual.attempts), (297, 27, 216));
        assert_eq!((usual.hook_calls, usual.idle_connections), (108, 216));
    }

    #[test]
    fn what_goes_to_endpoints_ends_at_what_is_of_use() {
        let limits = Limits::of(1_048_576);
        assert_eq!((limits.attempts, limits.hook_calls, limits.idle_connections), (2_048, 1_024, 2_048));
        assert_eq!(limits.listeners, 64);
    }

    #[test]
    fn a_limit_that_is_too_small_leaves_a_little_of_each() {
        let limits = Limits::of(64);
        assert_eq!((limits.connections, limits.attempts), (16, 16));
        assert_eq!((limits.hook_calls, limits.idle_connections), (16, 16));
    }

    #[test]
    fn the_soft_limit_is_read_and_unlimited_is_none() {
        let line = |soft| format!("Limit  Soft  Hard\nMax open files            {soft}    4096    files\n");
        assert_eq!(soft_limit(&line("1024")), Some(1_024));
        assert_eq!(soft_limit(&line("unlimited")), None);
        assert_eq!(soft_limit(""), None);
    }
}
