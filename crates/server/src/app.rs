//! The only wiring: ports to adapters, verbs to doors, loops to one stop.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use chathook_adapters::data_dir;
use chathook_adapters::endpoints::{HttpEndpoints, HttpEndpointsConfig};
use chathook_adapters::listeners::{ListenerEndpoints, Listeners};
use chathook_adapters::local_bus::LocalBus;
use chathook_adapters::resolver::THREADS_MAX;
use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::address::OpenNetworks;
use chathook_engine::connections::GRACE_MS;
use chathook_engine::dispatch;
use chathook_engine::engine::{EndpointRules, Engine, Ports};
use chathook_engine::lines::{self, Lines};
use chathook_engine::ports::clock::{Clock, Dice};
use chathook_engine::upkeep::Upkeep;
use rustls::pki_types::CertificateDer;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::api::{self, Api, ManagementCredentials};
use crate::dashboard::{self, Transport};
use crate::doors::Door;
use crate::limits::Limits;
use crate::listen::{self, Listening};
use crate::reference;
use crate::socket::{self, Sockets};

/// How long a stop may take (design 7).
const STOP_MAX: Duration = Duration::from_secs(9);
/// How often a stop looks whether the sockets have gone.
const SOCKETS_LOOK: Duration = Duration::from_millis(10);
const SWEEP_RETRY_MS: i64 = 1_000;
/// Connections that the admin door takes at once, beside those of listeners; chat cannot fill these places.
const ADMIN_PLACES: usize = 16;

/// Pages of the dashboard that are told of changes at once, each down a connection that stays open: a team of people
/// at work, and a part of clients' connections at most.
const STREAMS_MAX: usize = 64;
const STREAMS_PART: usize = 8;

/// Everything a server is made of.
pub struct Parts {
    pub data_dir: PathBuf,
    pub listen: SocketAddr,
    /// Where alone management calls are served, where set.
    pub admin_listen: Option<SocketAddr>,
    pub tls: Option<TlsAcceptor>,
    pub open_networks: OpenNetworks,
    pub allow_http: bool,
    pub extra_roots: Vec<CertificateDer<'static>>,
    pub use_system_roots: bool,
    pub management: ManagementCredentials,
    pub master_key: Option<String>,
    pub store: Options,
    pub limits: Limits,
    pub clock: Arc<dyn Clock>,
    pub dice: Arc<dyn Dice>,
}

/// A server whose engine works and whose doors are not open yet.
pub struct Built {
    pub engine: Arc<Engine>,
    api: Arc<Api>,
    listening: Arc<Listening>,
    sockets: Arc<Sockets>,
    bus: Arc<LocalBus>,
    parts: Doorways,
    limits: Limits,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

struct Doorways {
    listen: SocketAddr,
    admin_listen: Option<SocketAddr>,
    tls: Option<TlsAcceptor>,
}

/// A server that takes connections.
pub struct Running {
    pub engine: Arc<Engine>,
    pub address: SocketAddr,
    pub admin_address: Option<SocketAddr>,
    bus: Arc<LocalBus>,
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

/// Opens the store and starts the engine.
pub async fn build(parts: Parts) -> anyhow::Result<Built> {
    data_dir::make(&parts.data_dir)
        .with_context(|| format!("The data directory {} cannot be made", parts.data_dir.display()))?;
    let limits = parts.limits;
    tracing::info!(
        handles = limits.handles,
        connections_max = limits.connections,
        listeners_max = limits.listeners,
        attempts_max = limits.attempts,
        hook_calls_max = limits.hook_calls,
        idle_connections_max = limits.idle_connections,
        look_ups_max = THREADS_MAX,
        "the file-handle limit bounds what is open at once"
    );
    let vault =
        Vault::from_env_or_file(parts.master_key.as_deref(), &parts.data_dir).map_err(anyhow::Error::msg)?;
    let bounds = lines::Limits { attempts_max: limits.attempts, ..lines::Limits::default() };
    let lines = Arc::new(Lines::within(bounds));
    let store = Sqlite::open(&parts.data_dir, Arc::new(vault), lines.clone(), parts.store)?;
    let rules = rules(parts.open_networks.clone(), parts.allow_http);
    let endpoints = HttpEndpoints::new(HttpEndpointsConfig {
        open_networks: parts.open_networks,
        allow_http: parts.allow_http,
        extra_roots: parts.extra_roots,
        use_system_roots: parts.use_system_roots,
        idle_connections_max: limits.idle_connections,
    })
    .map_err(anyhow::Error::msg)?;
    let listeners = Listeners::bounded(limits.listeners);
    let endpoints = ListenerEndpoints::new(listeners.clone(), Arc::new(endpoints));
    let bus = Arc::new(LocalBus::default());
    let ports = Ports {
        store: Arc::new(store),
        clock: parts.clock,
        dice: parts.dice,
        endpoints: Arc::new(endpoints),
        bus: bus.clone(),
        dispatch: lines,
    };
    let engine = Arc::new(Engine::new(ports, rules, limits.hook_calls));
    engine
        .begin()
        .await
        .map_err(|refusal| anyhow::anyhow!("The store refuses the start: {}", refusal.message))?;
    api::metrics::begin();
    let (stop, stopped) = watch::channel(false);
    let mut tasks = dispatch::run(engine.means_of_dispatch(), stopped.clone());
    tasks.push(tokio::spawn(engine.clone().write_asked(stopped.clone())));
    tasks.push(tokio::spawn(engine.clone().keep_tallies(stopped.clone())));
    tasks.push(tokio::spawn(api::metrics::keep_up(stopped.clone())));
    tasks.push(tokio::spawn(engine.clone().run_replays(stopped.clone())));
    tasks.push(tokio::spawn(wake_crowds(bus.clone(), stopped.clone())));
    let api = Arc::new(Api::new(engine.clone(), parts.management));
    let listening = Arc::new(Listening { api: api.clone(), listeners });
    let sockets = Arc::new(Sockets { engine: engine.clone(), bus: bus.clone(), shutdown: stopped });
    let doorways = Doorways { listen: parts.listen, admin_listen: parts.admin_listen, tls: parts.tls };
    Ok(Built { engine, api, listening, sockets, bus, parts: doorways, limits, stop, tasks })
}

impl Built {
    /// Opens the doors; `wrap` may add to and guard what the main one serves.
    pub async fn open(mut self, wrap: impl FnOnce(Router) -> Router) -> anyhow::Result<Running> {
        let Limits { connections, listeners, .. } = self.limits;
        let streams = (connections / STREAMS_PART).clamp(1, STREAMS_MAX);
        // Streams leave the admin door its own places, so theirs come from the other door's.
        let (places, admin_places) = match self.parts.admin_listen {
            None => (connections + listeners, 0),
            Some(_) => (connections - streams, ADMIN_PLACES + listeners + streams),
        };
        let places = Arc::new(Semaphore::new(places));
        let chat = api::chat_router(self.api.clone()).merge(socket::router(self.sockets.clone()));
        let chat = chat.merge(api::health_router(self.api.clone())).merge(reference::router());
        let transport = if self.parts.tls.is_some() { Transport::Tls } else { Transport::Plain };
        let dashboard = dashboard::router(self.api.clone(), transport, streams);
        let management = api::management_router(self.api.clone()).merge(dashboard);
        let management = management.merge(listen::router(self.listening.clone()));
        let (main, admin) = match self.parts.admin_listen {
            None => (chat.merge(management), None),
            Some(at) => {
                // For the command line, which knows one address. Sockets come in by the other door alone.
                let beside = api::chat_router(self.api.clone())
                    .merge(api::health_router(self.api.clone()))
                    .merge(reference::router());
                (chat, Some((at, management.merge(beside))))
            }
        };
        let door = open_door(self.parts.listen, self.parts.tls.clone(), &places).await?;
        let address = door.address();
        self.serve(door, wrap(api::with_fallbacks(main)));
        let mut admin_address = None;
        if let Some((at, router)) = admin {
            let places = Arc::new(Semaphore::new(admin_places));
            let door = open_door(at, self.parts.tls.clone(), &places).await?;
            admin_address = Some(door.address());
            self.serve(door, api::with_fallbacks(router));
        }
        self.tasks.push(tokio::spawn(sweep(self.engine.clone(), self.stop.subscribe())));
        self.tasks.push(tokio::spawn(Upkeep::new(self.engine.clone()).run(self.stop.subscribe())));
        self.api.is_ready.store(true, Ordering::SeqCst);
        Ok(Running {
            engine: self.engine,
            address,
            admin_address,
            bus: self.bus,
            stop: self.stop,
            tasks: self.tasks,
        })
    }

    fn serve(&mut self, door: Door, router: Router) {
        self.tasks.push(tokio::spawn(door.serve(router, self.stop.subscribe())));
    }
}

impl Running {
    /// Stops accepting, finishes or hands back what is in flight.
    pub async fn stop(self) {
        let _ = self.stop.send(true);
        let all = async {
            for task in self.tasks {
                let _ = task.await;
            }
            self.engine.end_tallies().await;
            while self.bus.session_count() > 0 {
                tokio::time::sleep(SOCKETS_LOOK).await;
            }
        };
        if tokio::time::timeout(STOP_MAX, all).await.is_err() {
            tracing::warn!("the stop did not wait for the last connections");
        }
    }
}

async fn open_door(
    at: SocketAddr,
    tls: Option<TlsAcceptor>,
    places: &Arc<Semaphore>,
) -> anyhow::Result<Door> {
    Door::open(at, tls, places.clone())
        .await
        .with_context(|| format!("{at} cannot be listened on: choose another address with --listen"))
}

fn rules(open_networks: OpenNetworks, allow_http: bool) -> EndpointRules {
    let judge =
        move |address: &IpAddr| open_networks.may_call(*address).map_err(|refused| refused.to_string());
    EndpointRules { allow_http, judge_literal: Arc::new(judge) }
}

async fn wake_crowds(bus: Arc<LocalBus>, mut stop: watch::Receiver<bool>) {
    tokio::select! {
        () = bus.wake_crowds() => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}

/// After the grace, ends what earlier starts left open, each connection once.
async fn sweep(engine: Arc<Engine>, mut stop: watch::Receiver<bool>) {
    let work = async {
        let ready_at = engine.clock.ticks();
        engine.clock.sleep_until(ready_at + GRACE_MS).await;
        loop {
            match engine.sweep_dead_connections().await {
                Ok(0) => break,
                Ok(count) => tracing::info!(count, "ended connections of an earlier start"),
                Err(_) => engine.clock.sleep_until(engine.clock.ticks() + SWEEP_RETRY_MS).await,
            }
        }
    };
    tokio::select! {
        () = work => {}
        _ = stop.wait_for(|stop| *stop) => {}
    }
}
