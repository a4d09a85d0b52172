//! An endpoint under suspicion: what a failure or a slow answer is held against it, and whether it is left out.
//!
//! It gathers the [evidence](crate::evidence) and asks the machines; the cap on soft evidence is held here, where the
//! list is seen. It never hears of good answers that came in time.

use std::sync::Arc;
use std::time::Duration;

use api::Moment;
use api::policy::{Failing, Health as HealthSettings};

use crate::attempt::Attempt;
use crate::choose::Call;
use crate::endpoint::{Endpoint, EndpointCell};
use crate::evidence::{self, Evidence, Sign};
use crate::health::{Condition, Health};
use crate::scratch::Effects;
use crate::service::{Medians, ServiceCell};
use crate::window::{self, Counts, Window};

/// No answer that came within this is slow, whatever the others take: below it the network's own noise is larger
/// than what hosts differ by.
const NEVER_SLOW: Duration = Duration::from_millis(5);

/// So many failures in a row are a run: one may be anybody's.
const RUN: u32 = 2;

/// The machines that tell of endpoints: those in force, or others that hear the same.
pub(crate) trait Machines: Copy {
    /// An endpoint's condition, its good and bad answers, and its fast and slow ones.
    fn of(self, cell: &EndpointCell) -> (&Health, &Window, &Window);
}

/// Those in force.
#[derive(Clone, Copy)]
struct InForce;

impl Machines for InForce {
    fn of(self, cell: &EndpointCell) -> (&Health, &Window, &Window) {
        (&cell.health, &cell.window, &cell.slow)
    }
}

/// Whether an answer that took `took` was slow against the peers' median; never where slowness is no evidence.
pub(crate) fn is_slow(took: Duration, medians: Medians, settings: &HealthSettings) -> bool {
    let (Some(_), Some(median)) = (settings.slow_share.on(), medians.latency) else { return false };
    took > NEVER_SLOW && took.as_micros() as u64 as f32 > median * settings.slow_factor as f32
}

/// Whether the endpoint has failed so often in a row that one more failure may be enough, and it is too early for that
/// one: what it failed meanwhile would be held against too few answers of the others, or a request is out that will
/// tell. Until then the others come first. So nobody's request is spent on what would prove nothing.
pub(crate) fn waits(cell: &EndpointCell, service: &ServiceCell, settings: &HealthSettings) -> bool {
    let (run, enough) = (cell.health.in_a_row(), settings.consecutive.max(1));
    // Who has failed far more often is ill and may not be left out, or is no worse than the others.
    if run == 0 || run + 1 < enough || run >= enough * 2 {
        return false;
    }
    cell.in_flight() > 0 || evidence::too_early(run + 1, cell.health.meanwhile(run, service.tally()))
}

/// The endpoint failed; `hard` when it refused the connection.
pub(crate) fn bad(
    call: &Call<'_>,
    attempt: &mut Attempt,
    (failing, hard): (Failing, bool),
    now: Moment,
    dice: u64,
) -> Effects {
    let (settings, cell) = (call.admission.base(), attempt.endpoint().cell.clone());
    let service = call.admission.route().cell();
    let all = service.tell_attempt(now, false);
    if let Some(shadow) = call.admission.shadow() {
        shadow.bad(call, attempt, (failing, hard), all, now);
    }
    let breaker_opened = attempt.tell_breaker(true, now, &settings.breaker);
    let effects = Effects { breaker_opened, ..Effects::failed(failing) };
    if !settings.health.counts.contains(&failing) {
        return effects;
    }
    let run = cell.health.tell_bad(all);
    cell.window.tell(now, window::width(settings.health.window), Counts { good: 0, bad: 1 });
    let mut more = Effects::default();
    if let Some(trial) = attempt.trial.take() {
        trial.failed(now, hard, &settings.health, dice);
        more.ejected = Some(Sign::Trial);
    } else if hard {
        let ejected = cell.health.eject(now, true, &settings.health, dice);
        more.ejected = ejected.then_some(Sign::Refused);
    } else {
        more = judge(call, attempt, run, now, dice);
    }
    if let Some(at) = cell.health.ask().trial_at() {
        service.tell_trial(at);
    }
    effects.and(more)
}

/// An answer that is neither good nor bad is no proof of health: a trial that got it has failed.
pub(crate) fn no_proof(call: &Call<'_>, attempt: &mut Attempt, now: Moment, dice: u64) -> Effects {
    let Some(trial) = attempt.trial.take() else { return Effects::default() };
    trial.failed(now, false, &call.admission.base().health, dice);
    if let Some(at) = attempt.endpoint().cell.health.ask().trial_at() {
        call.admission.route().cell().tell_trial(at);
    }
    Effects { ejected: Some(Sign::Trial), ..Effects::default() }
}

/// Leaves the endpoint out if there is enough against it, and the cap allows it. `run` is how many failures in a
/// row it has, and what the others answered meanwhile.
pub(crate) fn judge(
    call: &Call<'_>,
    attempt: &Attempt,
    run: (u32, Counts),
    now: Moment,
    dice: u64,
) -> Effects {
    let (settings, endpoint) = (&call.admission.base().health, attempt.endpoint());
    let (cell, service) = (&endpoint.cell, call.admission.route().cell());
    if cell.health.ask().is_out() {
        return Effects::default();
    }
    let Some(sign) = sign(call, endpoint, run, (settings, InForce), now) else { return Effects::default() };
    let turn = service.ejecting();
    let allowed = turn.is_some() && may_eject(call, endpoint.id, (settings, InForce));
    let ejected = allowed && cell.health.eject(now, false, settings, dice);
    if let Some(at) = cell.health.ask().trial_at() {
        service.tell_trial(at);
    }
    Effects { ejected: ejected.then_some(sign), spared: !allowed, ..Effects::default() }
}

/// What is enough against `endpoint`, which has failed so often in a row while the others answered so much.
pub(crate) fn sign(
    call: &Call<'_>,
    endpoint: &Endpoint,
    (in_a_row, meanwhile): (u32, Counts),
    (settings, machines): (&HealthSettings, impl Machines),
    now: Moment,
) -> Option<Sign> {
    let service = call.admission.route().cell();
    let (health, window, slow) = machines.of(&endpoint.cell);
    let (medians, width) = (service.medians(), window::width(settings.window));
    // What others fail in runs of their own says that they are ill, not that everybody is.
    let run_of = |e: &Arc<Endpoint>| machines.of(&e.cell).0.in_a_row();
    let runs = call.list.endpoints.iter().filter(|e| e.id != endpoint.id).map(run_of);
    let ill: u32 = runs.filter(|run| *run >= RUN).sum();
    let meanwhile = Counts { bad: meanwhile.bad.saturating_sub(u64::from(ill)), ..meanwhile };
    let evidence = Evidence {
        in_a_row,
        counts: window.ask(now, width),
        slow: slow.ask(now, width),
        peers: medians.success,
        likely: 1.0 - medians.measure(),
        recent: service.budget.recent_failing(now, in_a_row.saturating_add(ill)),
        meanwhile,
        ramping: matches!(health.ask(), Condition::Ramping { .. }) && health.ramp(now, settings) < 1.0,
    };
    evidence.sign(settings)
}

/// Whether soft evidence may take the endpoint `id` out: the cap has room, and another usable one is left.
pub(crate) fn may_eject(
    call: &Call<'_>,
    id: u32,
    (settings, machines): (&HealthSettings, impl Machines),
) -> bool {
    let (mut out, mut others) = (0, 0);
    for endpoint in &call.list.endpoints {
        match machines.of(&endpoint.cell).0.ask() {
            Condition::Ejected { hard, .. } | Condition::OnTrial { hard, .. } => out += u64::from(!hard),
            Condition::Fit | Condition::Ramping { .. } => {
                let ready =
                    endpoint.instance.readiness == api::Readiness::Ready && !endpoint.cell.check_fails();
                others += u64::from(endpoint.id != id && ready && endpoint.instance.weight > 0);
            }
        }
    }
    others > 0 && out < settings.eject_share.of(call.list.endpoints.len() as u64).max(1)
}

#[cfg(test)]
mod tests;
