//! The engine: the ports that all verbs share, and what few things they keep between calls.

use std::net::IpAddr;
use std::sync::Arc;

use chathook_domain::app::App;
use chathook_domain::ids::{AppId, EventId, StartId, Uid};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::User;
use tokio::sync::{Notify, watch};

use crate::asked_log::{AskedLog, write_asked};
use crate::caller::Caller;
use crate::hooks::Hooks;
use crate::lines::Lines;
use crate::live::Live;
use crate::means::Means;
use crate::muids::MuidsUnderWay;
use crate::ports::bus::Bus;
use crate::ports::clock::{Clock, Dice};
use crate::ports::endpoints::Endpoints;
use crate::ports::store::{SharedStore, StoreError};
use crate::ports::upkeep::Doomed;
use crate::tallies::Tallies;

pub struct Engine {
    pub store: SharedStore,
    pub clock: Arc<dyn Clock>,
    pub dice: Arc<dyn Dice>,
    pub endpoints: Arc<dyn Endpoints>,
    pub bus: Arc<dyn Bus>,
    /// The lanes of all webhooks; the store offers to it.
    pub dispatch: Arc<Lines>,
    pub start: StartId,
    pub rules: EndpointRules,
    pub(crate) tallies: Arc<Tallies>,
    pub(crate) hooks: Hooks,
    pub(crate) asked_log: AskedLog,
    pub(crate) muids: MuidsUnderWay,
    /// Told when a replay begins.
    pub(crate) replay_nudge: Notify,
}

/// As [`Engine::event_id`], where there is no engine.
pub(crate) fn fresh_event_id(clock: &dyn Clock, dice: &dyn Dice) -> EventId {
    let ms = clock.now().ms.max(0).cast_unsigned();
    let random = dice.bits().to_be_bytes();
    let mut tail = [0; 10];
    tail.copy_from_slice(&random[..10]);
    let id = uuid::Builder::from_unix_timestamp_millis(ms, &tail).into_uuid();
    EventId::trusted(&format!("evt_{}", id.simple()))
}

/// Says why a literal address may not be called.
pub type JudgeLiteral = dyn Fn(&IpAddr) -> Result<(), String> + Send + Sync;

/// Which endpoint URLs may be configured at all; addresses behind names are judged at each connection.
#[derive(Clone)]
pub struct EndpointRules {
    /// Plain `http` is taken, where the address lies in an opened network.
    pub allow_http: bool,
    /// Judges a literal address; `Err` says why it is refused.
    pub judge_literal: Arc<JudgeLiteral>,
}

/// The ports of an engine.
pub struct Ports {
    pub store: SharedStore,
    pub clock: Arc<dyn Clock>,
    pub dice: Arc<dyn Dice>,
    pub endpoints: Arc<dyn Endpoints>,
    pub bus: Arc<dyn Bus>,
    pub dispatch: Arc<Lines>,
}

impl Engine {
    /// At most `hook_calls_max` calls to `before_message` endpoints are in flight, one of each kept aside.
    #[must_use]
    pub fn new(ports: Ports, rules: EndpointRules, hook_calls_max: usize) -> Self {
        let start = StartId::trusted(&format!("start_{:032x}", ports.dice.bits()));
        Self {
            store: ports.store,
            clock: ports.clock,
            dice: ports.dice,
            endpoints: ports.endpoints,
            bus: ports.bus,
            dispatch: ports.dispatch,
            start,
            rules,
            tallies: Arc::default(),
            hooks: Hooks::bounded(hook_calls_max),
            asked_log: AskedLog::default(),
            muids: MuidsUnderWay::default(),
            replay_nudge: Notify::new(),
        }
    }

    /// A number that is another when something of the app happened since it was last looked at; it costs no read
    /// of the store, and who makes things happen nothing but an addition. A hint: a user who was made, or a
    /// message that was marked as read, may go unseen.
    #[must_use]
    pub fn pulse(&self, app: &AppId) -> u64 {
        self.tallies.pulse(app)
    }

    /// What dispatch works with.
    #[must_use]
    pub fn means_of_dispatch(&self) -> Means {
        Means {
            store: self.store.clone(),
            endpoints: self.endpoints.clone(),
            clock: self.clock.clone(),
            dice: self.dice.clone(),
            lines: self.dispatch.clone(),
            tallies: self.tallies.clone(),
            start: self.start.clone(),
        }
    }

    /// Writes the log of `before_message` calls until the stop is told and the last call has ended.
    pub async fn write_asked(self: Arc<Self>, stop: watch::Receiver<bool>) {
        write_asked(&self.asked_log, &self.tallies, &self.store, &*self.clock, stop).await;
    }

    /// The app's sockets, but for the one that called.
    pub(crate) fn live(&self, caller: &Caller) -> Live {
        Live {
            bus: self.bus.clone(),
            tallies: self.tallies.clone(),
            app: caller.app.id.clone(),
            except: caller.session.clone(),
        }
    }

    /// All sockets of an app.
    pub(crate) fn live_of(&self, app: &AppId) -> Live {
        Live { bus: self.bus.clone(), tallies: self.tallies.clone(), app: app.clone(), except: None }
    }

    /// A fresh event id: time first, so that ids sort as they were made.
    pub(crate) fn event_id(&self) -> EventId {
        fresh_event_id(&*self.clock, &*self.dice)
    }

    /// A user who may act: there, and not deactivated. The system user always may.
    pub(crate) async fn active_user(&self, app: &AppId, uid: &Uid) -> Result<User, Refusal> {
        if uid.is_system() {
            return Ok(User::system());
        }
        let user = self.store.user(app, uid).await.map_err(refuse)?;
        user.filter(|u| u.deactivated_at.is_none()).ok_or_else(|| uid_not_found(uid))
    }

    /// A name that is given again is free only when all that was known by it is gone.
    pub(crate) async fn finish_removal(&self, doomed: Doomed) -> Result<(), Refusal> {
        while self.store.remove_doomed(Some(doomed.clone())).await.map_err(refuse)? {}
        Ok(())
    }

    /// The app of an id that came with management credentials.
    pub async fn app(&self, id: &AppId) -> Result<Arc<App>, Refusal> {
        let app = self.store.app(id).await.map_err(refuse)?;
        app.ok_or_else(|| Refusal::new(Code::AppNotFound, format!("There is no app with the id '{id}'.")))
    }
}

pub(crate) fn uid_not_found(uid: &Uid) -> Refusal {
    Refusal::new(Code::UidNotFound, format!("There is no active user with the uid '{uid}'."))
}

/// The store's refusal for the caller; the cause of a fault is logged here, once.
pub(crate) fn refuse(error: StoreError) -> Refusal {
    match error {
        StoreError::Refused(refusal) => refusal,
        StoreError::Unavailable(cause) => {
            tracing::warn!(cause, "the store refuses work for now");
            Refusal::unavailable()
        }
        StoreError::Fault(cause) => {
            tracing::error!(cause, "the store failed");
            Refusal::new(Code::Internal, "Something went wrong on our side.")
        }
    }
}
