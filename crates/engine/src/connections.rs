//! Log-in, log-out and the end of connections; presence is read from their rows (design 2.6).

use std::sync::Arc;

use chathook_domain::app::App;
use chathook_domain::connection::{Connection, ConnectionChange, Platform};
use chathook_domain::event::Origin;
use chathook_domain::ids::{AppId, DeviceId, SessionId, Uid};
use chathook_domain::message::Receiver;
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::user::User;
use serde_json::json;

use crate::caller::Caller;
use crate::engine::{Engine, refuse};
use crate::live::Live;
use crate::ports::bus::{Audience, Notice};
use crate::ports::store::{Ending, Opened, Opening, Recorded, RecordedPart, Told};

/// How long connections of a start that is over still count as open, from the readiness of the
/// start that finds them.
pub const GRACE_MS: i64 = 30_000;
/// Missed changes that a log-in is given before it is told to fetch.
pub const MISSED_MAX: i64 = 1_000;
/// Connections of dead starts that one step ends.
const SWEEP_STEP: i64 = 100;

/// What a client says to log in.
#[derive(Debug, Clone)]
pub struct LogIn {
    pub app_id: String,
    pub auth_token: String,
    pub device_id: Option<String>,
    pub platform: Option<String>,
}

#[derive(Debug, Clone)]
pub struct LoggedIn {
    pub app: Arc<App>,
    pub user: User,
    pub connection: Connection,
    /// The end of the app's record at that moment.
    pub cursor: i64,
    pub token_hash: Vec<u8>,
}

/// What a socket missed since its cursor.
#[derive(Debug, Clone)]
pub struct Missed {
    pub recorded: Vec<Recorded>,
    /// There is more than a log-in is given: the client fetches.
    pub is_truncated: bool,
}

impl Engine {
    /// Writes down that this start has begun, before anything else is stored under its name.
    pub async fn begin(&self) -> Result<(), Refusal> {
        self.store.begin_start(&self.start, self.clock.now()).await.map_err(refuse)
    }

    /// Opens a connection; an older one of the same token and device ends after it.
    pub async fn log_in(&self, log_in: LogIn) -> Result<LoggedIn, Refusal> {
        let session_id = self.new_session_id();
        self.log_in_as(log_in, session_id).await
    }

    /// A name for a session that is about to be opened.
    #[must_use]
    pub fn new_session_id(&self) -> SessionId {
        SessionId::trusted(&format!("s_{:032x}", self.dice.bits()))
    }

    /// Opens a connection under a name that the caller's subscription already has.
    pub async fn log_in_as(&self, log_in: LogIn, session_id: SessionId) -> Result<LoggedIn, Refusal> {
        if log_in.app_id.is_empty() {
            return Err(Refusal::field(Code::EmptyAppId, "appId", "is required"));
        }
        if log_in.auth_token.is_empty() {
            return Err(Refusal::field(Code::EmptyAuthToken, "authToken", "is required"));
        }
        let app_id = AppId::trusted(&log_in.app_id);
        let app = self.store.app(&app_id).await.map_err(refuse)?;
        let app =
            app.ok_or_else(|| Refusal::field(Code::InvalidAppId, "appId", "names no app of this server"))?;
        let owner = self.store.token_owner(&app.id, &log_in.auth_token).await.map_err(refuse)?;
        let owner = owner.ok_or_else(unknown_token)?;
        let mut user = self.active_user(&app.id, &owner.uid).await?;
        let device_id = match &log_in.device_id {
            Some(device) => DeviceId::parse("deviceId", device)?,
            None => DeviceId::trusted(&format!("d_{:032x}", self.dice.bits())),
        };
        let platform = Platform::parse("platform", log_in.platform.as_deref().unwrap_or("web"))?;
        let now = self.clock.now();
        let connection = Connection {
            session_id,
            uid: user.uid.clone(),
            device_id,
            platform,
            connected_at: now,
            start: self.start.clone(),
        };
        let opening = Opening {
            connection: connection.clone(),
            token_hash: owner.token_hash.clone(),
            at: now,
            event_ids: [self.event_id(), self.event_id()],
        };
        let live = self.live_of(&app.id);
        let told = Told::by(move |opened: &Opened| {
            live.tell_presence(&opened.change);
            opened.replaced.iter().for_each(|replaced| live.tell_ended(replaced));
        });
        let opened = self.store.open_connection(&app, opening, told).await.map_err(refuse)?;
        (user.is_online, user.last_active_at) = (true, Some(now));
        Ok(LoggedIn { app, user, connection, cursor: opened.cursor, token_hash: owner.token_hash })
    }

    /// The token ends, and with it all its sockets.
    pub async fn log_out(&self, app: &App, token_hash: Vec<u8>) -> Result<(), Refusal> {
        self.end(app, Ending::Token { token_hash }, Origin::Socket).await
    }

    /// A socket ended without a log-out. Returns when that is written.
    pub async fn close_connection(&self, app: &App, session: &SessionId) -> Result<(), Refusal> {
        self.end(app, Ending::Session(session.clone()), Origin::Socket).await
    }

    /// Ends connections and tells of each.
    pub(crate) async fn end(&self, app: &App, ending: Ending, origin: Origin) -> Result<(), Refusal> {
        let live = self.live_of(&app.id);
        let told = Told::by(move |ended: &Vec<_>| ended.iter().for_each(|change| live.tell_ended(change)));
        let ended = self.store.end_connections(app, ending, self.clock.now(), origin, told).await;
        ended.map(drop).map_err(refuse)
    }

    /// One step of the sweep after the grace of earlier starts: ends up to a hundred of their
    /// connections. Answers with how many it ended; none means that nothing is left.
    pub async fn sweep_dead_connections(&self) -> Result<usize, Refusal> {
        let now = self.clock.now();
        let (bus, tallies) = (self.bus.clone(), self.tallies.clone());
        let told = Told::by(move |swept: &Vec<(AppId, ConnectionChange)>| {
            for (app, change) in swept {
                let (bus, tallies) = (bus.clone(), tallies.clone());
                Live { bus, tallies, app: app.clone(), except: None }.tell_ended(change);
            }
        });
        let swept = self.store.end_connections_of_dead_starts(&self.start, now, SWEEP_STEP, told).await;
        Ok(swept.map_err(refuse)?.len())
    }

    /// The app and user of an `authToken` header.
    pub async fn caller_of_token(&self, token: &str) -> Result<Caller, Refusal> {
        let found = self.store.app_of_token(token).await.map_err(refuse)?;
        let (app, owner) = found.ok_or_else(unknown_token)?;
        let user = self.active_user(&app.id, &owner.uid).await?;
        Ok(Caller { app, uid: user.uid, origin: Origin::Rest, session: None })
    }

    /// What a user's sockets may have missed after a cursor.
    pub async fn missed(&self, caller: &Caller, cursor: i64) -> Result<Missed, Refusal> {
        let limit = MISSED_MAX + 1;
        let recorded = self.store.recorded_after(&caller.app.id, &caller.uid, cursor, limit).await;
        let RecordedPart { lines: mut recorded, is_cut } = recorded.map_err(refuse)?;
        let is_truncated = is_cut || recorded.len() > usize::try_from(MISSED_MAX).expect("a small number");
        if is_truncated {
            recorded.clear();
        }
        Ok(Missed { recorded, is_truncated })
    }

    /// Which of these users are online.
    pub async fn presence_of(&self, app: &AppId, uids: &[Uid]) -> Result<Vec<Uid>, Refusal> {
        self.store.online_among(app, uids).await.map_err(refuse)
    }

    /// Tells the others of a conversation that the caller is typing, or no longer; never stored.
    pub async fn typing(&self, caller: &Caller, receiver: Receiver, is_active: bool) -> Result<(), Refusal> {
        let app = &caller.app.id;
        match &receiver {
            Receiver::User(uid) => drop(self.active_user(app, uid).await?),
            Receiver::Group(guid) => {
                self.group(app, guid).await?;
                let member = self.store.member(app, guid, &caller.uid).await.map_err(refuse)?;
                member.ok_or_else(|| crate::groups::not_joined(guid))?;
            }
        }
        let mut others = self.store.audience(app, &caller.uid, &receiver).await.map_err(refuse)?;
        others.retain(|uid| *uid != caller.uid);
        let params = json!({
            "sender": caller.uid.as_str(), "receiver": receiver.id(),
            "receiverType": receiver.kind(), "active": is_active,
        });
        self.bus.tell(Notice {
            app: app.clone(),
            to: Audience::Users(others),
            except: caller.session.clone(),
            method: "typing",
            params: Arc::new(params),
        });
        Ok(())
    }
}

fn unknown_token() -> Refusal {
    Refusal::new(Code::AuthTokenNotFound, "The auth token is not known, or it has ended.")
}
