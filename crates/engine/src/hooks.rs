//! What is remembered of each `before_message` webhook from one message to the next: the places for
//! its calls in flight, and its circuit.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use chathook_domain::circuit::Role;
use chathook_domain::hook_circuit::HookCircuit;
use chathook_domain::outcome::Outcome;
use chathook_domain::turn::TurnKind;
use chathook_domain::webhook::Webhook;

use crate::hook_places::{AllPlaces, HookPlaces};

/// One webhook's places and circuit. Calls in flight hold on to it, also when another takes its place.
#[derive(Clone)]
pub(crate) struct Hook {
    pub places: Arc<HookPlaces>,
    circuit: Arc<Mutex<HookCircuit>>,
}

impl Hook {
    fn new(all: &Arc<AllPlaces>) -> Self {
        Self { places: all.of_a_webhook(), circuit: Arc::default() }
    }

    /// The same places, and a circuit that nothing is known of.
    fn renewed(&self) -> Self {
        Self { places: self.places.clone(), circuit: Arc::default() }
    }

    /// Whether to call now, and as what; see [`HookCircuit::lets_through`].
    pub fn lets_through(&self, tick: i64) -> Option<Role> {
        self.circuit.lock().expect("no one panics while holding this lock").lets_through(tick)
    }

    /// Tells where that turned its circuit.
    pub fn note(&self, outcome: &Outcome, role: Role, tick: i64) -> Option<TurnKind> {
        self.circuit.lock().expect("no one panics while holding this lock").note(outcome, role, tick)
    }
}

/// The hooks of all webhooks that were asked, by the store's row.
pub(crate) struct Hooks {
    places: Arc<AllPlaces>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    by_row: HashMap<i64, Hook>,
    /// How many times a webhook was changed or deleted.
    changes: u64,
}

impl Hooks {
    /// With at most so many calls in flight, over all of them.
    pub fn bounded(calls_max: usize) -> Self {
        Self { places: Arc::new(AllPlaces::bounded(calls_max)), known: Mutex::default() }
    }

    /// To be taken before the webhooks are read, and shown to [`Self::of`].
    pub fn changes(&self) -> u64 {
        self.known().changes
    }

    /// The hooks of these webhooks. Where any webhook changed since they began to be read, what comes of
    /// these calls may be about one that is no longer there, or no longer so: it is remembered nowhere.
    pub fn of(&self, webhooks: &[Webhook], changes: u64) -> Vec<Hook> {
        let mut known = self.known();
        let is_stale = known.changes != changes;
        let fresh = || Hook::new(&self.places);
        let mut hook_of = |webhook: &Webhook| {
            if is_stale {
                return known.by_row.get(&webhook.row).map_or_else(fresh, Hook::renewed);
            }
            known.by_row.entry(webhook.row).or_insert_with(fresh).clone()
        };
        webhooks.iter().map(&mut hook_of).collect()
    }

    /// The circuit of a webhook as it is; closed where nobody was asked yet.
    pub fn circuit(&self, webhook_row: i64) -> HookCircuit {
        let hook = self.known().by_row.get(&webhook_row).cloned();
        hook.map_or_else(HookCircuit::default, |hook| {
            *hook.circuit.lock().expect("no one panics while holding this lock")
        })
    }

    /// To be called when a webhook's configuration was changed: its circuit begins anew, its calls in
    /// flight still count against its places. Answers with the circuit that it had.
    pub fn renew(&self, webhook_row: i64) -> HookCircuit {
        let before = self.circuit(webhook_row);
        let mut known = self.known();
        known.changes += 1;
        if let Some(hook) = known.by_row.get_mut(&webhook_row) {
            *hook = hook.renewed();
        }
        before
    }

    /// To be called when webhooks were deleted.
    pub fn forget(&self, webhook_rows: impl IntoIterator<Item = i64>) {
        let mut known = self.known();
        known.changes += 1;
        for row in webhook_rows {
            known.by_row.remove(&row);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().expect("no one panics while holding this lock")
    }
}

#[cfg(test)]
mod tests {
    use chathook_domain::ids::Time;
    use chathook_domain::outcome::Failure;
    use chathook_domain::signature::{Secrets, SigningSecret};
    use chathook_domain::webhook::WebhookDraft;
    use serde_json::json;

    use super::*;

    const ROW: i64 = 7;

    fn webhooks() -> [Webhook; 1] {
        let body = json!({"id": "gate", "name": "Gate", "webhookURL": "https://hooks.example.org/"});
        let WebhookDraft { id, config } = WebhookDraft::parse(&body).expect("a fit draft");
        [Webhook {
            row: ROW,
            id,
            config,
            triggers: Vec::new(),
            secrets: Secrets::only(SigningSecret::new(vec![1; 32])),
            switched_off: None,
            created_at: Time::from_ms(0),
            updated_at: Time::from_ms(0),
        }]
    }

    fn hook(hooks: &Hooks, changes: u64) -> Hook {
        hooks.of(&webhooks(), changes).remove(0)
    }

    fn open(hook: &Hook) {
        for _ in 0..5 {
            let _ = hook.note(&Outcome::Failed(Failure::Timeout), Role::Ordinary, 0);
        }
    }

    #[test]
    fn messages_share_a_webhooks_circuit_and_places() {
        let hooks = Hooks::bounded(8);
        open(&hook(&hooks, 0));
        assert!(hook(&hooks, 0).lets_through(1).is_none());
        let _place = hook(&hooks, 0).places.try_take().expect("a place");
        assert_eq!(hook(&hooks, 0).places.in_flight(), 1);
    }

    #[test]
    fn a_changed_webhook_keeps_its_places_and_forgets_its_silences() {
        let hooks = Hooks::bounded(8);
        let before = hook(&hooks, 0);
        let _place = before.places.try_take().expect("a place");
        hooks.renew(ROW);
        open(&before);
        let after = hook(&hooks, hooks.changes());
        assert!(after.lets_through(1).is_some());
        assert_eq!(after.places.in_flight(), 1);
    }

    #[test]
    fn who_read_the_webhooks_before_a_change_leaves_nothing_behind() {
        let hooks = Hooks::bounded(8);
        let read_at = hooks.changes();
        hooks.renew(ROW);
        open(&hook(&hooks, read_at));
        assert!(hook(&hooks, hooks.changes()).lets_through(1).is_some());
    }

    #[test]
    fn nothing_is_remembered_of_a_deleted_webhook_also_by_calls_that_end_later() {
        let hooks = Hooks::bounded(8);
        let read_at = hooks.changes();
        let in_flight = hook(&hooks, read_at);
        hooks.forget([ROW]);
        open(&in_flight);
        open(&hook(&hooks, read_at));
        assert!(hooks.known().by_row.is_empty());
    }
}
