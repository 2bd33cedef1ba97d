//! What dispatch works with, and how it bears with a store that refuses.

use std::sync::Arc;

use chathook_domain::ids::StartId;

use crate::lines::Lines;
use crate::ports::clock::{Clock, Dice};
use crate::ports::endpoints::Endpoints;
use crate::ports::store::{DeliveryStore, StoreError};
use crate::tallies::Tallies;

/// How long a store that refuses is left alone before it is asked again.
pub(crate) const STORE_WAIT_MS: i64 = 1_000;

/// What dispatch works with.
#[derive(Clone)]
pub struct Means {
    pub store: Arc<dyn DeliveryStore>,
    pub endpoints: Arc<dyn Endpoints>,
    pub clock: Arc<dyn Clock>,
    pub dice: Arc<dyn Dice>,
    pub lines: Arc<Lines>,
    pub tallies: Arc<Tallies>,
    /// The start that all this is written for.
    pub start: StartId,
}

/// Whether the store may take it later.
pub(crate) fn is_passing(error: &StoreError) -> bool {
    match error {
        StoreError::Unavailable(_) => true,
        StoreError::Refused(_) | StoreError::Fault(_) => false,
    }
}
