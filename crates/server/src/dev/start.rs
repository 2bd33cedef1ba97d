//! `chathook dev`: the server with sample users, fixed credentials, an inbox and the try-it page.

use std::sync::Arc;

use anyhow::{Context as _, bail};
use axum::middleware::from_fn;
use chathook_adapters::sqlite::Options;
use chathook_adapters::system::{RealClock, RealDice};
use chathook_domain::address::OpenNetworks;
use chathook_domain::app::{ApiKey, AppDraft, KeyScope};
use chathook_domain::ids::{AppId, Time, Uid, WebhookId};
use chathook_domain::refusal::{Code, Refusal};
use chathook_domain::trigger::Trigger;
use chathook_domain::user::AuthToken;
use chathook_domain::webhook::WebhookDraft;
use chathook_engine::apps::SAMPLE_USERS;
use chathook_engine::engine::Engine;
use chathook_engine::ports::clock::Clock as _;
use chathook_engine::users::Reuse;
use serde_json::json;

use crate::api::ManagementCredentials;
use crate::app::{Parts, build};
use crate::config::DevFlags;
use crate::dev::{BasicCredentials, DevState, DevUser, Inbox, only_local, router};
use crate::limits::Limits;
use crate::serve::{DEV_MANAGEMENT_KEY, DEV_MANAGEMENT_SECRET, until_told_to_stop};

const DEV_APP: &str = "dev";
const DEV_API_KEY: &str = "de0000000000000000000000000000000000de01";
const DEV_AUTH_KEY: &str = "de0000000000000000000000000000000000de02";
const INBOX_WEBHOOK: &str = "inbox";
/// The CIDRs that webhooks may point at here.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// Runs until SIGTERM or SIGINT.
pub async fn run(flags: DevFlags) -> anyhow::Result<()> {
    if !flags.listen.ip().is_loopback() {
        bail!(
            "--listen is {}, but 'dev' listens on loopback only: use 127.0.0.1, or 'chathook serve'.",
            flags.listen
        );
    }
    let clock = Arc::new(RealClock::new());
    let now = clock.clone();
    let credentials =
        BasicCredentials { username: "inbox".to_owned(), password: "inbox-password".to_owned() };
    let inbox = Inbox::start(credentials.clone(), Arc::new(move || now.now().ms)).await?;
    let inbox = Arc::new(inbox);
    let built = build(Parts {
        data_dir: flags.data_dir,
        listen: flags.listen,
        admin_listen: None,
        tls: None,
        open_networks: OpenNetworks::parse(LOOPBACK).map_err(anyhow::Error::msg)?,
        allow_http: true,
        extra_roots: vec![inbox.ca_der()],
        use_system_roots: false,
        management: ManagementCredentials {
            key: DEV_MANAGEMENT_KEY.to_owned(),
            secret: DEV_MANAGEMENT_SECRET.to_owned(),
        },
        master_key: None,
        store: Options::default(),
        limits: Limits::here(),
        clock,
        dice: Arc::new(RealDice),
    })
    .await?;
    let engine = built.engine.clone();
    let users = prepare(&engine, &inbox, &credentials)
        .await
        .map_err(|refusal| anyhow::anyhow!(refusal.message))
        .context("The sample data could not be made")?;
    let app = AppId::trusted(DEV_APP);
    let login = move |uid: String| -> futures_util::future::BoxFuture<'static, Result<String, String>> {
        let (engine, app) = (engine.clone(), app.clone());
        Box::pin(async move {
            let uid = Uid::parse("uid", &uid).map_err(|refusal| refusal.message)?;
            let token =
                engine.create_token(&app, &uid, Reuse::Never).await.map_err(|refusal| refusal.message)?;
            Ok(token.token)
        })
    };
    let state = DevState { inbox, app_id: DEV_APP.to_owned(), users, login: Arc::new(login) };
    let running = built.open(|server| server.merge(router(state)).layer(from_fn(only_local))).await?;
    greet(&running.address.to_string());
    until_told_to_stop().await;
    running.stop().await;
    Ok(())
}

/// The app, its users' tokens, and the inbox's webhook, as they should be at each start.
async fn prepare(
    engine: &Arc<Engine>,
    inbox: &Inbox,
    credentials: &BasicCredentials,
) -> Result<Vec<DevUser>, Refusal> {
    let app = AppId::trusted(DEV_APP);
    match engine.app(&app).await {
        Ok(_) => {}
        Err(refusal) if refusal.code == Code::AppNotFound => {
            let draft =
                AppDraft { name: "Development".to_owned(), region: "us".to_owned(), with_sample_data: true };
            let key = |key: &str, scope, name: &str| ApiKey {
                key: key.to_owned(),
                name: name.to_owned(),
                scope,
                created_at: engine.clock.now(),
            };
            let keys = vec![
                key(DEV_API_KEY, KeyScope::FullAccess, "REST API Key"),
                key(DEV_AUTH_KEY, KeyScope::AuthOnly, "Auth Key"),
            ];
            engine.create_app_as(app.clone(), draft, keys).await?;
        }
        Err(refusal) => return Err(refusal),
    }
    point_at_inbox(engine, &app, inbox, credentials).await?;
    let mut users = Vec::new();
    for (uid, name) in SAMPLE_USERS {
        let uid = Uid::trusted(uid);
        let fixed =
            AuthToken { uid: uid.clone(), token: format!("{uid}_dev-token"), created_at: Time::from_ms(0) };
        let known = engine.tokens(&app, &uid).await?;
        if !known.iter().any(|token| token.token == fixed.token) {
            engine.add_token(&app, fixed.clone()).await?;
        }
        users.push(DevUser { uid: uid.to_string(), name: name.to_owned(), auth_token: fixed.token });
    }
    Ok(users)
}

/// The inbox has another port at each start, so its webhook is pointed at it anew.
async fn point_at_inbox(
    engine: &Arc<Engine>,
    app: &AppId,
    inbox: &Inbox,
    credentials: &BasicCredentials,
) -> Result<(), Refusal> {
    let id = WebhookId::trusted(INBOX_WEBHOOK);
    let body = json!({
        "id": INBOX_WEBHOOK, "name": "Inbox", "webhookURL": inbox.url(), "useBasicAuth": true,
        "username": credentials.username, "password": credentials.password, "enabled": true,
    });
    match engine.webhook(app, &id).await {
        Ok(_) => drop(engine.update_webhook(app, &id, &body).await?),
        Err(refusal) if refusal.code == Code::WebhookNotFound => {
            engine.create_webhook(app, WebhookDraft::parse(&body)?).await?;
            engine.add_triggers(app, &id, Trigger::ALL.to_vec()).await?;
        }
        Err(refusal) => return Err(refusal),
    }
    Ok(())
}

fn greet(address: &str) {
    println!(
        "address: http://{address}

Open it in a browser: two sample users chat, and every webhook shows beside them.
The dashboard is at http://{address}/dashboard: log in with {DEV_MANAGEMENT_KEY} and {DEV_MANAGEMENT_SECRET}.
Or paste one of these:

curl -s http://{address}/v3/messages -H 'apikey: {DEV_API_KEY}' -H 'onBehalfOf: ana' \
-H 'content-type: application/json' \
-d '{{\"receiver\":\"ben\",\"receiverType\":\"user\",\"data\":{{\"text\":\"Hello from curl\"}}}}'

curl -s -X POST http://{address}/v3/users/ana/conversation/read -H 'apikey: {DEV_API_KEY}' -H 'onBehalfOf: ben'

curl -s http://{address}/apps/{DEV_APP}/webhooks -H 'key: {DEV_MANAGEMENT_KEY}' -H 'secret: {DEV_MANAGEMENT_SECRET}'
"
    );
}
