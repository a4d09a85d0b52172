//! Whom one choice looks at: the narrowest circle that has somebody usable.

use crate::endpoint::EndpointList;
use crate::parts::{Asked, Drawn, Part};
use crate::scratch::{Among, Scored, Why};

use super::{TRIED, USABLE, View};

impl View<'_> {
    /// Fills `pool` with whom the request may meet, and says who they are: of the first part that it asks for, the
    /// tier and zone that are drawn for it, or wider circles while nobody in the narrower one is usable. Another
    /// part only when nobody in the one asked for is well.
    pub(crate) fn gather(
        &self,
        list: &EndpointList,
        asked: &Asked,
        pool: &mut Vec<Scored>,
        dice: &mut u64,
    ) -> Among {
        pool.clear();
        let Some((kind, part)) = asked.first(&list.parts) else { return Among::default() };
        let among = Among { kind, ..self.within(list, part, pool, dice) };
        if well(pool) {
            return among;
        }
        for (kind, part) in asked.parts(&list.parts).skip(1) {
            let among = Among { kind, ..self.within(list, part, pool, dice) };
            if well(pool) {
                return among;
            }
        }
        // Nobody is well anywhere: the best of whom it asked for.
        self.fill(list, (&part.all, &part.tables), pool, dice);
        Among { kind, ..Among::default() }
    }

    fn within(&self, list: &EndpointList, part: &Part, pool: &mut Vec<Scored>, dice: &mut u64) -> Among {
        // Mostly there is nothing to draw; and where a key leads says who it is, wherever that stands.
        if self.balance.by.hashes() || !part.is_drawn() {
            self.fill(list, (&part.all, &part.tables), pool, dice);
            return Among::default();
        }
        self.drawn(list, part, pool, dice)
    }

    #[inline(never)]
    fn drawn(&self, list: &EndpointList, part: &Part, pool: &mut Vec<Scored>, dice: &mut u64) -> Among {
        let balance = (self.settings, self.balance);
        if let Some(Drawn { tier, place, group, all }) = part.draw(&list.endpoints, self.now, balance, dice) {
            self.fill(list, (group, &part.tables), pool, dice);
            if ready(pool) {
                return Among { tier, place, ..Among::default() };
            }
            self.fill(list, (all, &part.tables), pool, dice);
            if ready(pool) {
                return Among { tier, ..Among::default() };
            }
        }
        self.fill(list, (&part.all, &part.tables), pool, dice);
        Among::default()
    }
}

/// Whether anybody is as it should be, may be taken, and was not tried.
fn ready(pool: &[Scored]) -> bool {
    pool.iter().any(|scored| scored.rank == USABLE && scored.is_open())
}

/// Whether anybody is well; who is full or was tried is.
fn well(pool: &[Scored]) -> bool {
    pool.iter().any(|s| s.rank <= TRIED && !matches!(s.why, Why::BreakerOpen | Why::WeightZero))
}
