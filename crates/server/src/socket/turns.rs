//! The order of one connection's calls on one conversation (design 4).

use std::collections::HashMap;

use chathook_domain::ids::Key;
use chathook_engine::send_message::Turn;
use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

/// Conversations that are remembered before those without calls under way are forgotten.
const REMEMBERED: usize = 64;

#[derive(Default)]
pub(super) struct Turns {
    last: HashMap<Key, Link>,
}

struct Link {
    done: oneshot::Receiver<()>,
    is_barrier: bool,
}

/// A call's place, and whether it waits for the call before from its very beginning.
pub(super) struct Taken {
    pub turn: Turn,
    pub is_behind_barrier: bool,
}

impl Turns {
    /// Takes the next place in a conversation. Nothing behind a barrier begins before it is done.
    pub fn take(&mut self, conversation: Key, is_barrier: bool) -> Taken {
        if self.last.len() >= REMEMBERED {
            self.last.retain(|_, link| link.is_under_way());
        }
        let before = self.last.remove(&conversation).and_then(|mut link| link.is_under_way().then_some(link));
        let is_behind_barrier = before.as_ref().is_some_and(|link| link.is_barrier);
        let (done, receiver) = oneshot::channel();
        let link = Link { done: receiver, is_barrier: is_barrier || is_behind_barrier };
        self.last.insert(conversation, link);
        Taken { turn: Turn { before: before.map(|link| link.done), done }, is_behind_barrier }
    }
}

impl Link {
    fn is_under_way(&mut self) -> bool {
        matches!(self.done.try_recv(), Err(TryRecvError::Empty))
    }
}

/// Waits until the call before is done, however it ended.
pub(super) async fn wait(before: Option<oneshot::Receiver<()>>) {
    if let Some(before) = before {
        // An error means that it ended without a word.
        let _ = before.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_under_way_are_waited_for() {
        let mut turns = Turns::default();
        let key = Key::trusted("group_g");
        let first = turns.take(key.clone(), false);
        assert!(first.turn.before.is_none());
        assert!(turns.take(Key::trusted("group_h"), false).turn.before.is_none());
        let second = turns.take(key.clone(), false);
        assert!(second.turn.before.is_some());
        drop((first, second));
        assert!(turns.take(key, false).turn.before.is_none());
    }

    #[test]
    fn whatever_follows_a_barrier_under_way_waits_from_its_beginning() {
        let mut turns = Turns::default();
        let key = Key::trusted("group_g");
        let join = turns.take(key.clone(), true);
        assert!(!join.is_behind_barrier);
        let first = turns.take(key.clone(), false);
        let second = turns.take(key, false);
        assert!(first.is_behind_barrier && second.is_behind_barrier);
    }
}
