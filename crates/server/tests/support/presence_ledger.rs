//! Keeps the books on who is online by reading connection events in their order, and objects to the
//! first that does not follow from those before it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

#[derive(Default)]
pub struct Ledger {
    users: BTreeMap<String, Account>,
    connected: BTreeSet<String>,
    disconnected: BTreeSet<String>,
}

#[derive(Default)]
struct Account {
    open: BTreeSet<String>,
    status_since: i64,
}

impl Ledger {
    /// Enters the `data` of one event; those of one user come in their order.
    pub fn enter(&mut self, data: &Value) {
        let (user, event) = (&data["user"], &data["event"]);
        let account = self.users.entry(text(&user["uid"])).or_default();
        let session = text(&event["event_for"]["session_id"]);
        let had_any = !account.open.is_empty();
        match event["type"].as_str() {
            Some("connected") => {
                assert!(self.connected.insert(session.clone()), "connected twice: {data}");
                account.open.insert(session);
            }
            Some("disconnected") => {
                assert!(account.open.remove(&session), "disconnected without being connected: {data}");
                self.disconnected.insert(session);
            }
            _ => panic!("no such type: {data}"),
        }
        let has_any = !account.open.is_empty();
        if had_any != has_any {
            account.status_since = event["at"].as_i64().expect("a time");
        }
        let listed = data["connections"].as_array().expect("a list").iter();
        let listed: BTreeSet<String> = listed.map(|one| text(&one["session_id"])).collect();
        assert_eq!(listed, account.open, "the user's other connections: {data}");
        assert_eq!(user["status"], if has_any { "online" } else { "offline" }, "{data}");
        assert_eq!(user["status_updated"], had_any != has_any, "{data}");
        assert_eq!(user["status_updated_at"], account.status_since, "{data}");
    }

    pub fn connected_count(&self) -> usize {
        self.connected.len()
    }

    pub fn disconnected_count(&self) -> usize {
        self.disconnected.len()
    }

    /// The sessions that count as open by what was told.
    pub fn open(&self) -> BTreeSet<String> {
        self.users.values().flat_map(|account| account.open.iter().cloned()).collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
