//! Follows the deliveries of a webhook: each is told when it comes and whenever it stands otherwise.
//! It looks again and again, so that it also goes on over a restart of the server.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use chathook_adapters::api_client::{ApiError, Target};
use serde_json::Value;

use super::attempts::{outcome, status};
use super::lists::{Limit, items, of_cursor};
use super::output::{Cell, Reader, remark};
use super::remote::{Remote, Watch};
use crate::serve::until_told_to_stop;

/// How long one look is after the other.
const PAUSE: Duration = Duration::from_millis(500);
/// Deliveries of one page.
const PAGE: &str = "200";
/// Pages of one look: more that came meanwhile is not told, but for a line that says so.
const PAGES_MAX: usize = 20;
/// Deliveries remembered.
const REMEMBERED_MAX: usize = 10_000;
/// Deliveries that wait and that no page shows, looked at one by one; where there are more, in turn.
const WATCHED_MAX: usize = 50;
/// Columns of time, id, trigger, key and status.
const WIDTHS: [usize; 6] = [19, 8, 29, 24, 9, 3];

/// What is followed.
pub struct Following {
    /// The list of deliveries.
    pub target: Target,
    /// Told are only those that stand so.
    pub status: Option<String>,
    /// How many of the past to begin with, if any.
    pub lines: Option<Limit>,
}

/// Goes on until told to stop; `filtered` adds what the server filters by.
pub async fn tail(
    remote: &Remote,
    following: Following,
    filtered: impl Fn(Target) -> Target,
) -> anyhow::Result<()> {
    tokio::select! {
        ended = follow(remote, &following, filtered) => ended.map(|never| match never {}),
        () = until_told_to_stop() => Ok(()),
    }
}

async fn follow(
    remote: &Remote,
    following: &Following,
    filtered: impl Fn(Target) -> Target,
) -> anyhow::Result<Infallible> {
    let list = filtered(following.target.clone());
    let mut known = Known::default();
    let page = list.clone().with("limit", PAGE);
    for delivery in items(&remote.api.get(&page).await?.data).collect::<Vec<_>>().into_iter().rev() {
        known.note(delivery);
    }
    if let Some(lines) = following.lines {
        // Looked for after the page, so that nothing falls between the two.
        let wanted = list.with_any("status", following.status.as_deref());
        let past = of_cursor(&remote.api, &wanted, lines).await?;
        for delivery in past.items().collect::<Vec<_>>().into_iter().rev() {
            tell(remote, delivery)?;
            known.note(delivery);
        }
    }
    let mut watch = Watch::default();
    loop {
        tokio::time::sleep(PAUSE).await;
        let looked = look(remote, &following.target, &page, &mut known).await;
        for delivery in watch.found(looked)?.into_iter().flatten() {
            if known.note(&delivery) && is_wanted(following, &delivery) {
                tell(remote, &delivery)?;
            }
        }
    }
}

/// What is new or may have changed, oldest first.
async fn look(
    remote: &Remote,
    all: &Target,
    list: &Target,
    known: &mut Known,
) -> Result<Vec<Value>, ApiError> {
    let mut looked: Vec<Value> = Vec::new();
    let mut cursor: Option<String> = None;
    for page in 1..=PAGES_MAX {
        let answer = remote.api.get(&list.clone().with_any("cursor", cursor.as_deref())).await?;
        let reaches_known = items(&answer.data).any(|delivery| known.knows(delivery));
        looked.extend(items(&answer.data).cloned());
        cursor = answer.meta["cursor"].as_str().map(str::to_owned);
        if reaches_known || cursor.is_none() {
            break;
        }
        if page == PAGES_MAX {
            remark("More came than can be told: some are left out.");
        }
    }
    let ids: BTreeSet<&str> = looked.iter().filter_map(|delivery| delivery["id"].as_str()).collect();
    let mut watched = Vec::new();
    for id in known.waiting_besides(&ids) {
        match remote.api.get(&all.below(&[&id])).await {
            Ok(answer) => watched.push(in_list(answer.data)),
            Err(ApiError::Refused(refused)) if refused.status == 404 => known.forget(&id),
            Err(error) => return Err(error),
        }
    }
    Ok(watched.into_iter().chain(looked.into_iter().rev()).collect())
}

/// One delivery as the list would show it: with the number of its attempts, and without its body.
fn in_list(mut delivery: Value) -> Value {
    let attempts = delivery["attempts"].as_array().map_or(0, Vec::len);
    delivery["attempts"] = attempts.into();
    if let Some(object) = delivery.as_object_mut() {
        object.shift_remove("body");
    }
    delivery
}

fn is_wanted(following: &Following, delivery: &Value) -> bool {
    following.status.as_deref().is_none_or(|status| delivery["status"] == status)
}

fn tell(remote: &Remote, delivery: &Value) -> std::io::Result<()> {
    let out = &remote.out;
    match out.reader {
        Reader::Program => out.json_line(delivery),
        Reader::Person => {
            let of = |name: &str| Cell::of(&delivery[name]);
            let cells = [
                out.time(&delivery["createdAt"]),
                of("id"),
                of("trigger"),
                of("key"),
                status(&delivery["status"]),
                of("attempts"),
                outcome(&delivery["lastOutcome"]),
            ];
            out.columns(&cells, &[WIDTHS.as_slice(), &[0]].concat())
        }
    }
}

/// How the deliveries that were seen last stand.
#[derive(Default)]
struct Known {
    /// Status and number of attempts, by id.
    standing: HashMap<String, (String, u64)>,
    /// The ids in the order in which they came.
    order: VecDeque<String>,
    /// The ids of those that wait, the next to be looked at first.
    waiting: VecDeque<String>,
}

impl Known {
    fn knows(&self, delivery: &Value) -> bool {
        delivery["id"].as_str().is_some_and(|id| self.standing.contains_key(id))
    }

    /// Remembers how it stands; whether that is news.
    fn note(&mut self, delivery: &Value) -> bool {
        let text = |name: &str| delivery[name].as_str().unwrap_or_default().to_owned();
        let (id, status) = (text("id"), text("status"));
        let is_waiting = status == "waiting";
        let standing = (status, delivery["attempts"].as_u64().unwrap_or_default());
        let before = self.standing.insert(id.clone(), standing.clone());
        if before.as_ref() == Some(&standing) {
            return false;
        }
        if before.is_none() {
            self.order.push_back(id.clone());
            if is_waiting {
                self.waiting.push_back(id.clone());
            }
        }
        if !is_waiting {
            self.waiting.retain(|waiting| *waiting != id);
        }
        while self.order.len() > REMEMBERED_MAX {
            if let Some(oldest) = self.order.pop_front() {
                self.standing.remove(&oldest);
                self.waiting.retain(|waiting| *waiting != oldest);
            }
        }
        true
    }

    /// Some that wait besides these; at the next call, others.
    fn waiting_besides(&mut self, seen: &BTreeSet<&str>) -> Vec<String> {
        let mut besides = Vec::new();
        for _ in 0..self.waiting.len() {
            if besides.len() == WATCHED_MAX {
                break;
            }
            let Some(id) = self.waiting.pop_front() else { break };
            if !seen.contains(id.as_str()) {
                besides.push(id.clone());
            }
            self.waiting.push_back(id);
        }
        besides
    }

    /// It is no longer kept by the server.
    fn forget(&mut self, id: &str) {
        self.waiting.retain(|waiting| waiting != id);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn delivery(id: usize, status: &str, attempts: u64) -> Value {
        json!({"id": id.to_string(), "status": status, "attempts": attempts})
    }

    #[test]
    fn a_delivery_is_news_when_it_comes_and_when_it_stands_otherwise() {
        let mut known = Known::default();
        assert!(known.note(&delivery(1, "waiting", 0)));
        assert!(!known.note(&delivery(1, "waiting", 0)));
        assert!(known.note(&delivery(1, "waiting", 1)));
        assert_eq!(known.waiting, ["1"]);
        assert!(known.note(&delivery(1, "delivered", 2)));
        assert!(known.waiting.is_empty());
    }

    #[test]
    fn all_that_wait_have_their_turn() {
        let mut known = Known::default();
        for id in 0..2 * WATCHED_MAX {
            known.note(&delivery(id, "waiting", 0));
        }
        let seen = BTreeSet::from(["3"]);
        let (first, second) = (known.waiting_besides(&seen), known.waiting_besides(&seen));
        let all: BTreeSet<&String> = first.iter().chain(&second).collect();
        assert_eq!((first.len(), all.len()), (WATCHED_MAX, 2 * WATCHED_MAX - 1));
        assert!(!all.contains(&"3".to_owned()));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut known = Known::default();
        for id in 0..REMEMBERED_MAX + 5 {
            known.note(&delivery(id, "waiting", 0));
        }
        assert_eq!([known.standing.len(), known.order.len(), known.waiting.len()], [REMEMBERED_MAX; 3]);
        assert!(!known.knows(&delivery(4, "waiting", 0)) && known.knows(&delivery(5, "waiting", 0)));
    }
}
