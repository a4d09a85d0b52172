//! What is forecast of a push to everybody, and what the wire takes for it.

use std::rc::Rc;
use std::time::Duration;

use api::Span;
use serde::{Deserialize, Serialize};

use super::flap::Changer;
use super::fleet::{PER_HOST, instance};
use super::watchers::percentile;
use super::watching::Watching;

/// Instances of the hot service that change at once: the push that tells of them takes seconds.
const AT_ONCE: usize = 200;

/// A push as the control plane tells of it.
#[derive(Debug, Deserialize)]
pub(crate) struct Push {
    pub(crate) service: String,
    followers: usize,
    bytes: u64,
    forecast: Span,
}

/// One push.
#[derive(Debug, Serialize)]
pub struct Forecast {
    followers: usize,
    /// Bytes that it sends to all of them.
    bytes: u64,
    /// Until 99 % are told, as it was said when it began.
    said: f64,
    /// Until 99 % had it, since the first one had.
    took: f64,
}

impl Forecast {
    /// What was said of the latest push of `service`, beside what it took.
    ///
    /// # Errors
    /// When nothing was said.
    pub(crate) async fn of(changer: &mut Changer, service: &str, took: f64) -> std::io::Result<Self> {
        let pushes = changer.pushes().await?;
        let latest = pushes.into_iter().find(|push| push.service == service);
        let Push { followers, bytes, forecast, .. } =
            latest.ok_or_else(|| std::io::Error::other(format!("no push of {service} was forecast")))?;
        Ok(Self { followers, bytes, said: forecast.duration().as_secs_f64(), took })
    }
}

/// From the first who heard until 99 % had. All of `ages` are counted from one moment.
pub(crate) fn spread(ages: &mut [Duration]) -> f64 {
    percentile(ages, 0.99) - ages.first().map_or(0.0, Duration::as_secs_f64)
}

impl Watching {
    /// Many instances of the hot service change at once, and everybody is told of all of them together. Then they are as
    /// they were: what follows begins with a service as others are.
    ///
    /// # Errors
    /// When a change is refused or not everybody hears of it.
    pub async fn bulk(&mut self) -> std::io::Result<Forecast> {
        let told = self.change_many(Some(70)).await?;
        self.change_many(None).await?;
        Ok(told)
    }

    async fn change_many(&mut self, weight: Option<u16>) -> std::io::Result<Forecast> {
        self.board.borrow_mut().clear();
        let mut changer = Changer::new(self.to, 1, Rc::clone(&self.board)).await?;
        let watches = self.board.borrow().connected;
        for number in 0..=AT_ONCE {
            let mut changed = instance(number)?;
            changed.weight = weight.unwrap_or(changed.weight);
            changer.change(&self.sessions[number / PER_HOST].clone(), &changed, true).await?;
            if number == 0 {
                // The first one goes at once; those that come now wait until all of them are there.
                self.all_heard_of_hot(watches).await?;
            }
        }
        let mut ages = self.all_heard_of_hot(watches).await?;
        ages.truncate(watches);
        self.agree(&["hot".into()]).await?;
        Forecast::of(&mut changer, "hot", spread(&mut ages)).await
    }
}
