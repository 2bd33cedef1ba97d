//! What an earlier version has stored is carried over.

use std::path::Path;
use std::sync::Arc;

use chathook_adapters::sqlite::{Options, Sqlite};
use chathook_adapters::vault::Vault;
use chathook_domain::delivery::Owed;
use chathook_domain::ids::{LaneKind, Time};
use chathook_domain::lane::LanePart;
use chathook_engine::ports::store::{DeliveryStore as _, LineOf, Offers};
use sha2::{Digest as _, Sha256};

struct Nowhere;

impl Offers for Nowhere {
    fn offer(&self, _: Vec<Owed>) {}
    fn changed(&self, _: i64) {}
}

/// A webhook with a delivered, a waiting and a failed-once delivery, and one of a webhook that is gone.
const OF_BEFORE: &str = r#"
    INSERT INTO app (id, name, region, settings, created_at) VALUES ('app1', 'One', 'us', '{}', 1);
    INSERT INTO webhook (row, app, id, name, url, use_basic_auth, enabled, retry_on_failure, on_failure,
                         timeout_ms, signing_secret, created_at, updated_at)
        VALUES (5, 'app1', 'hook', 'Hook', 'https://example.com/', 0, 1, 1, 'propagate', 10000, SECRET, 1, 1);
    INSERT INTO webhook_sequence (app, id, last, settled) VALUES ('app1', 'hook', 3, 1), ('app1', 'gone', 9, 9);
    INSERT INTO start (id, began_at) VALUES ('zeta', 10), ('alpha', 20);
    INSERT INTO event (row, app, id, "trigger", key, body, created_at) VALUES
        (1, 'app1', 'e1', 'after_message', 'k', '{"a":"é"}', 100),
        (2, 'app1', 'e2', 'after_message', 'k', '{"a":"bb"}', 200),
        (3, 'app1', 'e3', 'after_message', 'k', '{}', 300);
    INSERT INTO delivery (id, app, webhook_row, webhook, sequence, event, key, status, attempts, due, created_at,
                          ended_at) VALUES
        (1, 'app1', 5, 'hook', 1, 1, 'k', 'delivered', 1, 100, 100, 150),
        (2, 'app1', 5, 'hook', 2, 1, 'k', 'waiting', 2, 900, 100, NULL),
        (3, 'app1', 5, 'hook', 3, 2, 'k', 'waiting', 0, 200, 200, NULL),
        (4, 'app1', 4, 'gone', 9, 3, 'k', 'cancelled', 0, 300, 300, NULL);
    INSERT INTO attempt (delivery, attempt, outcome, total_us, started_at, start) VALUES
        (1, 1, '200', 10, 140, 'alpha'), (2, 1, 'timeout', 10, 400, 'zeta'), (2, 2, '500', 10, 500, 'alpha');
"#;

fn checksum(sql: &str) -> String {
    Sha256::digest(sql.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The database as the first two migrations and their use have left it.
fn make_database_of_before(dir: &Path) {
    let db = rusqlite::Connection::open(dir.join("chathook.db")).expect("the file is made");
    db.execute_batch(
        "PRAGMA auto_vacuum = INCREMENTAL; PRAGMA journal_mode = WAL;
         CREATE TABLE migration (version INTEGER PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL) STRICT",
    )
    .expect("the table is made");
    let steps = [
        ("tenants", include_str!("../migrations/0001_tenants.sql")),
        ("messages", include_str!("../migrations/0002_messages.sql")),
    ];
    for (version, (name, sql)) in (1..).zip(steps) {
        db.execute_batch(sql).expect("the step is made");
        let row: (i64, &str, String) = (version, name, checksum(sql));
        db.execute("INSERT INTO migration VALUES (?1, ?2, ?3)", row).expect("the step is noted");
    }
    let secret: String = Vault::from_key([7; 32])
        .seal("webhook/app1/hook/signing_secret", &[1; 32])
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    db.execute_batch(&OF_BEFORE.replace("SECRET", &format!("x'{secret}'"))).expect("the rows are made");
}

fn ask(dir: &Path, sql: &str) -> Vec<String> {
    let db = rusqlite::Connection::open(dir.join("chathook.db")).expect("the file opens");
    let mut query = db.prepare(sql).expect("the query is fit");
    let rows = query.query_map([], |row| row.get(0)).expect("the rows are read");
    rows.map(|row| row.expect("the row is text")).collect()
}

#[tokio::test]
async fn deliveries_of_before_are_carried_over_with_their_numbers() {
    let dir = tempfile::tempdir().expect("a temporary directory");
    make_database_of_before(dir.path());
    let vault = Arc::new(Vault::from_key([7; 32]));
    let store = Sqlite::open(dir.path(), vault, Arc::new(Nowhere), Options::default());
    let store = store.expect("the store opens");

    let target = store.target(5).await.expect("the store reads").expect("the webhook is there");
    assert_eq!((target.settled, target.failing_since), (1, None));
    let of = LineOf { webhook_row: 5, stream: target.stream };
    let lanes = store.waiting_lanes(of, LaneKind::Live, None, 10).await.expect("the store reads");
    let [LanePart { lane, owed, has_more: false }] = &lanes[..] else { panic!("one lane: {lanes:?}") };
    assert_eq!(lane.as_str(), "k");
    let [tried, fresh] = &owed[..] else { panic!("two wait: {owed:?}") };
    assert_eq!((tried.sequence, tried.attempts, tried.steps), (2, 2, 2));
    assert_eq!(tried.due, Some(Time::from_ms(900)));
    assert_eq!(tried.first_failed_at, Some(Time::from_ms(400)));
    assert_eq!((tried.event_id.as_str(), &*tried.body), ("e1", r#"{"a":"é"}"#));
    assert_eq!((fresh.sequence, fresh.attempts, fresh.due, fresh.first_failed_at), (3, 0, None, None));

    let streams =
        "SELECT webhook || ' ' || last || ' ' || settled || ' ' || waiting_count || ' ' || waiting_bytes
         FROM stream ORDER BY 1";
    assert_eq!(ask(dir.path(), streams), ["gone 9 9 0 0", "hook 3 1 2 20"], "bytes, not characters");
    let ended = "SELECT s.webhook || ' ' || sequence || ' ' || status || ' ' || ended_at
                 FROM ended JOIN stream s ON s.row = stream ORDER BY 1";
    assert_eq!(ask(dir.path(), ended), ["gone 9 cancelled 300", "hook 1 delivered 150"]);
    let attempts = "SELECT sequence || ' ' || attempt || ' ' || outcome || ' ' || (SELECT id FROM start WHERE row = start)
                    FROM attempt ORDER BY 1";
    assert_eq!(ask(dir.path(), attempts), ["1 1 200 alpha", "2 1 timeout zeta", "2 2 500 alpha"]);
    assert_eq!(ask(dir.path(), "SELECT id FROM start ORDER BY row"), ["zeta", "alpha"], "by age");
    let owed = ask(dir.path(), "SELECT owed FROM event ORDER BY row");
    let (hook, gone) = (target.stream, if target.stream == 1 { 2 } else { 1 });
    assert_eq!(owed, [format!("{hook}:1 {hook}:2"), format!("{hook}:3"), format!("{gone}:9")]);
}
