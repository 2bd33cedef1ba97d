//! Who hears of a change as soon as it is on disk.

/// Called by the store with what it has committed: after the commit, in the order of the commits, and
/// before the caller is answered, also where the caller has gone meanwhile. It holds up the commits
/// that follow, so it never waits.
#[must_use]
pub struct Told<T>(Option<Tell<T>>);

type Tell<T> = Box<dyn FnOnce(&T) + Send>;

impl<T> Told<T> {
    pub const fn nobody() -> Self {
        Self(None)
    }

    pub fn by(tell: impl FnOnce(&T) + Send + 'static) -> Self {
        Self(Some(Box::new(tell)))
    }

    pub fn tell(self, committed: &T) {
        if let Some(tell) = self.0 {
            tell(committed);
        }
    }
}
