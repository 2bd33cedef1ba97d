//! Seats by the people to whom they belong, or whom they watch.

use std::collections::HashMap;
use std::sync::Arc;

use chathook_domain::ids::{AppId, SessionId, Uid};

use super::Seat;

/// App by app, so that finding one person of a crowd copies no names.
#[derive(Debug, Default)]
pub(super) struct People(HashMap<AppId, HashMap<Uid, Vec<Arc<Seat>>>>);

impl People {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn has(&self, app: &AppId, uid: &Uid) -> bool {
        self.0.get(app).is_some_and(|people| people.contains_key(uid))
    }

    pub(super) fn seats<'a>(
        &'a self,
        app: &AppId,
        uid: &Uid,
    ) -> impl Iterator<Item = &'a Arc<Seat>> + use<'a> {
        self.0.get(app).and_then(|people| people.get(uid)).into_iter().flatten()
    }

    pub(super) fn put(&mut self, app: &AppId, uid: &Uid, seat: &Arc<Seat>) {
        let people = self.0.entry(app.clone()).or_default();
        // Most users have one socket, so that room for more would be most of the room.
        people.entry(uid.clone()).or_insert_with(|| Vec::with_capacity(1)).push(Arc::clone(seat));
    }

    pub(super) fn take_away(&mut self, app: &AppId, uid: &Uid, session: &SessionId) {
        let Some(people) = self.0.get_mut(app) else { return };
        let Some(seats) = people.get_mut(uid) else { return };
        seats.retain(|seat| seat.session != *session);
        if seats.is_empty() {
            people.remove(uid);
        }
        if people.is_empty() {
            self.0.remove(app);
        }
    }
}
