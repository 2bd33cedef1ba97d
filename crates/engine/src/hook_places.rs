//! Places for `before_message` calls in flight: a bound for each webhook, and one over all that is shared
//! fairly and of which each webhook keeps one. Who finds none waits, as long as the message may.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use chathook_domain::webhook::IN_FLIGHT_MAX;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::places::Places;

/// The places of all webhooks.
pub(crate) struct AllPlaces {
    places: Places,
    desk: Mutex<Desk>,
}

#[derive(Default)]
struct Desk {
    /// How many webhooks were given places, which numbers them.
    count: i64,
    /// Calls in flight of each that has some.
    in_flight: BTreeMap<i64, usize>,
    /// Those that were turned away, to be woken when a place is free.
    turned_away: BTreeMap<i64, Arc<Notify>>,
}

/// The places of one webhook.
pub(crate) struct HookPlaces {
    all: Arc<AllPlaces>,
    /// Names it among all. A row would not do: what is deleted may still have calls in flight.
    number: i64,
    own: Arc<Semaphore>,
    freed: Arc<Notify>,
}

/// A place that is taken, until it is dropped.
pub(crate) struct Place {
    of: Arc<HookPlaces>,
    _own: OwnedSemaphorePermit,
}

impl AllPlaces {
    pub fn bounded(calls_max: usize) -> Self {
        Self { places: Places::bounded(calls_max), desk: Mutex::default() }
    }

    pub fn of_a_webhook(self: &Arc<Self>) -> Arc<HookPlaces> {
        let mut desk = self.desk();
        desk.count += 1;
        Arc::new(HookPlaces {
            all: self.clone(),
            number: desk.count,
            own: Arc::new(Semaphore::new(IN_FLIGHT_MAX)),
            freed: Arc::new(Notify::new()),
        })
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().expect("no one panics while holding this lock")
    }
}

impl HookPlaces {
    /// A place, where there is one now.
    pub fn try_take(self: &Arc<Self>) -> Option<Place> {
        let own = self.own.clone().try_acquire_owned().ok()?;
        self.is_let_in().then(|| Place { of: self.clone(), _own: own })
    }

    /// Waits for a place. Those of one webhook get theirs in the order in which they came.
    pub async fn take(self: &Arc<Self>) -> Place {
        let own = self.own.clone().acquire_owned().await.expect("this semaphore is never closed");
        while !self.is_let_in() {
            self.freed.notified().await;
        }
        // There may be room for the next one, too.
        self.freed.notify_one();
        Place { of: self.clone(), _own: own }
    }

    #[cfg(test)]
    pub fn in_flight(&self) -> usize {
        self.all.desk().in_flight.get(&self.number).copied().unwrap_or(0)
    }

    fn is_let_in(&self) -> bool {
        let mut desk = self.all.desk();
        let own = desk.in_flight.get(&self.number).copied().unwrap_or(0);
        let is_let_in = self.all.places.take(self.number, own);
        if is_let_in {
            desk.in_flight.insert(self.number, own + 1);
        } else {
            desk.turned_away.insert(self.number, self.freed.clone());
        }
        is_let_in
    }

    fn give_back(&self) {
        let mut desk = self.all.desk();
        let own = desk.in_flight.remove(&self.number).expect("what is given back was taken") - 1;
        if own > 0 {
            desk.in_flight.insert(self.number, own);
        }
        for number in self.all.places.give_back(own) {
            if let Some(freed) = desk.turned_away.remove(&number) {
                freed.notify_one();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.of.give_back();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn of_two(calls_max: usize) -> [Arc<HookPlaces>; 2] {
        let all = Arc::new(AllPlaces::bounded(calls_max));
        [all.of_a_webhook(), all.of_a_webhook()]
    }

    #[test]
    fn one_webhook_has_at_most_its_own_bound_and_the_other_still_has_room() {
        let [greedy, other] = of_two(1_000);
        let taken: Vec<Place> = std::iter::from_fn(|| greedy.try_take()).collect();
        assert_eq!(taken.len(), IN_FLIGHT_MAX);
        assert!(other.try_take().is_some());
    }

    #[test]
    fn where_all_places_are_taken_each_webhook_still_has_one() {
        let [greedy, other] = of_two(4);
        let taken: Vec<Place> = std::iter::from_fn(|| greedy.try_take()).collect();
        assert_eq!(taken.len(), 4);
        let kept = other.try_take();
        assert!(kept.is_some() && other.try_take().is_none());
    }

    #[test]
    fn who_waits_gets_a_place_as_soon_as_one_is_free_and_who_gave_up_gets_none() {
        let [first, second] = of_two(2);
        let mut taken = vec![first.try_take().expect("free"), first.try_take().expect("free")];
        let _kept = second.try_take().expect("kept for it");
        let mut look = Context::from_waker(Waker::noop());
        {
            let mut gave_up = pin!(second.take());
            assert!(gave_up.as_mut().poll(&mut look).is_pending());
        }
        let mut waits = pin!(first.take());
        assert!(waits.as_mut().poll(&mut look).is_pending());
        taken.pop();
        assert!(waits.as_mut().poll(&mut look).is_pending(), "two are in flight still, of two");
        taken.pop();
        let Poll::Ready(place) = waits.as_mut().poll(&mut look) else { panic!("one is free") };
        assert_eq!((first.in_flight(), second.in_flight()), (1, 1));
        drop(place);
        assert_eq!(first.in_flight(), 0);
    }
}
