//! Many who write at once, and who do not give up: what is not acknowledged is sent again with the
//! same `muid` as soon as there is a server again.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::caller::{Socket, Tenant};
use crate::server::FAIL_SAFE;

/// Two write in each conversation, one from each side.
const WRITERS: usize = 16;
const CONVERSATIONS: usize = WRITERS / 2;
/// How many of them also have a socket open.
const SOCKETS: usize = 4;

/// The users of [`Load`].
pub const USERS: Users = Users(0);

pub struct Users(usize);

impl Iterator for Users {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let uid = (self.0 < WRITERS).then(|| format!("u{}", self.0));
        self.0 += 1;
        uid
    }
}

/// Where the server is, and which of its starts it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Place {
    start: u32,
    address: SocketAddr,
}

impl Place {
    pub fn first(address: SocketAddr) -> Self {
        Self { start: 1, address }
    }

    pub fn moved_to(&mut self, address: SocketAddr) {
        *self = Self { start: self.start + 1, address };
    }
}

pub struct Load {
    shared: Arc<Shared>,
    writers: Vec<JoinHandle<()>>,
    sockets: Vec<JoinHandle<()>>,
}

struct Shared {
    tenant: Tenant,
    /// From `muid` to message id.
    acknowledged: Mutex<BTreeMap<String, String>>,
    count: watch::Sender<usize>,
    is_over: AtomicBool,
}

impl Load {
    pub fn begin(tenant: &Tenant, at: &watch::Receiver<Place>) -> Self {
        let shared = Arc::new(Shared {
            tenant: tenant.clone(),
            acknowledged: Mutex::default(),
            count: watch::Sender::new(0),
            is_over: AtomicBool::new(false),
        });
        let writers = (0..WRITERS).map(|n| tokio::spawn(write(shared.clone(), at.clone(), n))).collect();
        let sockets = (0..SOCKETS).map(|n| tokio::spawn(listen(shared.clone(), at.clone(), n))).collect();
        Self { shared, writers, sockets }
    }

    pub async fn acknowledged_at_least(&self, count: usize) {
        let mut counted = self.shared.count.subscribe();
        let reached = timeout(FAIL_SAFE, counted.wait_for(|now| *now >= count)).await.is_ok();
        assert!(reached, "only {} of {count} messages were acknowledged", *self.shared.count.borrow());
    }

    /// What is acknowledged up to now, from `muid` to message id.
    pub fn acknowledged(&self) -> BTreeMap<String, String> {
        self.shared.acknowledged.lock().expect("no writer panicked").clone()
    }

    /// Each writer gets its last message acknowledged; the sockets stay. From `muid` to message id.
    pub async fn end(&mut self) -> BTreeMap<String, String> {
        self.shared.is_over.store(true, Ordering::SeqCst);
        for writer in self.writers.drain(..) {
            timeout(FAIL_SAFE, writer)
                .await
                .expect("every writer is heard in the end")
                .expect("no writer panicked");
        }
        self.acknowledged()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.writers.iter().chain(&self.sockets).for_each(JoinHandle::abort);
    }
}

fn pair(n: usize) -> (String, String) {
    (format!("u{n}"), format!("u{}", (n + CONVERSATIONS) % WRITERS))
}

async fn write(shared: Arc<Shared>, mut at: watch::Receiver<Place>, n: usize) {
    let (from, to) = pair(n);
    for turn in 0.. {
        if shared.is_over.load(Ordering::SeqCst) {
            return;
        }
        let muid = format!("{from}-{turn}");
        let id = send(&shared.tenant, &mut at, &from, &to, &muid).await;
        shared.acknowledged.lock().expect("no writer panicked").insert(muid, id);
        shared.count.send_modify(|count| *count += 1);
    }
}

/// Sends until it is acknowledged.
async fn send(tenant: &Tenant, at: &mut watch::Receiver<Place>, from: &str, to: &str, muid: &str) -> String {
    loop {
        let place = *at.borrow_and_update();
        match tenant.send(place.address, from, to, muid, muid).await {
            Ok(answer) => {
                assert_eq!(answer.status.as_u16(), 200, "{muid}: {}", answer.body);
                return answer.id();
            }
            Err(_) => drop(at.wait_for(|now| now.start != place.start).await.expect("the test goes on")),
        }
    }
}

/// A client that comes back with the same device whenever its socket ends.
async fn listen(shared: Arc<Shared>, mut at: watch::Receiver<Place>, n: usize) {
    let uid = format!("u{n}");
    loop {
        let place = *at.borrow_and_update();
        if let Some(socket) = Socket::log_in(place.address, &shared.tenant, &uid, "phone").await {
            socket.until_closed().await;
        }
        if at.wait_for(|now| now.start != place.start).await.is_err() {
            return;
        }
    }
}

/// All messages of the conversations, from `muid` to message id.
pub async fn stored(tenant: &Tenant, address: SocketAddr) -> BTreeMap<String, String> {
    let mut stored = BTreeMap::new();
    for n in 0..CONVERSATIONS {
        let (one, other) = pair(n);
        stored.extend(tenant.conversation(address, &one, &other).await);
    }
    stored
}

/// The conversations hold exactly what was acknowledged.
pub async fn assert_one_message_per_muid(
    tenant: &Tenant,
    address: SocketAddr,
    acknowledged: &BTreeMap<String, String>,
) {
    let mut stored = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for n in 0..CONVERSATIONS {
        let (one, other) = pair(n);
        for (muid, id) in tenant.conversation(address, &one, &other).await {
            assert!(ids.insert(id.clone()), "the message {id} is listed twice");
            let double = stored.insert(muid.clone(), id);
            assert_eq!(double, None, "two messages have the muid {muid}");
        }
    }
    assert_eq!(&stored, acknowledged);
}
