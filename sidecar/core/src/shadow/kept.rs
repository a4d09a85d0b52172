//! What an attempt would hold at its endpoint, and how the endpoint's machine in shadow takes it.

use api::Moment;

use super::ill::Heard;
use super::place::InShadow;
use crate::bulkhead::{self, Places};
use crate::endpoint::Endpoint;

/// What is kept with the attempt; nothing where it would have gone elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(super) heard: Heard,
    /// The run of failures that its good head ended.
    pub(super) run: u32,
    _places: Places,
}

impl InShadow<'_> {
    /// An attempt at `endpoint` begins.
    pub(crate) fn begin(self, endpoint: &Endpoint, now: Moment) -> Kept {
        if !self.place.is_held() {
            return Kept::default();
        }
        match bulkhead::enter_at(&self.terms.of_endpoints, &endpoint.instance) {
            Ok(places) => Kept { heard: self.hears(endpoint, now), run: 0, _places: places },
            Err(full) => {
                full.tell_refused();
                Kept::default()
            }
        }
    }
}
