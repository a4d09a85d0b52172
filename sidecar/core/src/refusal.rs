//! We said no: a reason of the closed table, and what the answer to it must be.

use std::borrow::Cow;
use std::time::Duration;

use api::message::{ProblemBody, header};
use api::{Label, Reason};

use crate::exchange::RequestId;

/// A request that gets no answer of an endpoint, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// What happened this time, for the caller's eyes: it names limits and states, never an address.
    pub detail: Cow<'static, str>,
    /// The limit that refused, where one did.
    pub quota: Option<Box<Quota>>,
}

/// What a limit allows, as its refusals say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The limit.
    pub name: Label,
    /// So much.
    pub most: u64,
    /// Within so many seconds.
    pub seconds: u64,
}

/// The answer that a refusal becomes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusalAnswer {
    /// The HTTP status.
    pub status: u16,
    /// The fields to write, framing apart.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Refusal {
    /// A refusal that says what its reason's row says.
    pub fn of(reason: Reason) -> Self {
        Self { reason, retry_after: None, detail: Cow::Borrowed(reason.row().meaning), quota: None }
    }

    /// The same with the words of this time.
    #[must_use]
    pub fn detail(self, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { detail: detail.into(), ..self }
    }

    /// The same with a time after which trying again may help.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        Self { retry_after: Some(after), ..self }
    }

    /// The same with the limit that refused.
    #[must_use]
    pub fn quota(self, quota: Quota) -> Self {
        Self { quota: Some(Box::new(quota)), ..self }
    }

    /// The whole answer: the reason's status, `Proxy-Status` (RFC 9209), `Retry-After` (RFC 9110 §10.2.3),
    /// `RateLimit-Policy` and `RateLimit` of the limit that refused (draft-ietf-httpapi-ratelimit-headers-10)
    /// and a problem (RFC 9457). A `grpc` caller gets status 200 with `grpc-status` and `grpc-message` and
    /// no body: a "trailers-only" answer.
    pub fn answer(&self, id: RequestId, grpc: bool) -> RefusalAnswer {
        let row = self.reason.row();
        let mut headers = vec![
            (header::REQUEST_ID, id.to_string()),
            (header::REASON, self.reason.as_str().to_owned()),
            ("proxy-status", self.proxy_status()),
        ];
        if let Some(after) = self.retry_after {
            headers.push(("retry-after", whole_seconds(after).to_string()));
        }
        if let Some(Quota { name, most, seconds }) = self.quota.as_deref() {
            headers.push(("ratelimit-policy", format!("\"{name}\";q={most};w={seconds}")));
            let reset = self.retry_after.map_or(*seconds, whole_seconds);
            headers.push(("ratelimit", format!("\"{name}\";r=0;t={reset}")));
        }
        if grpc {
            headers.push(("content-type", "application/grpc".into()));
            headers.push(("grpc-status", row.grpc.to_string()));
            headers.push(("grpc-message", percent(&format!("{}: {}", self.reason, self.detail))));
            return RefusalAnswer { status: 200, headers, body: Vec::new() };
        }
        headers.push(("content-type", "application/problem+json".into()));
        let problem = ProblemBody {
            kind: format!("urn:outrigger:reason:{}", self.reason),
            title: row.title.into(),
            status: row.status,
            detail: self.detail.clone().into_owned(),
            reason: Some(self.reason),
            instance: id.to_string(),
            problems: Vec::new(),
        };
        // Words and numbers always have a JSON form.
        let body = serde_json::to_vec(&problem).unwrap_or_default();
        RefusalAnswer { status: row.status, headers, body }
    }

    /// This refusal as a member of `Proxy-Status`; see [`proxy_status`].
    pub fn proxy_status(&self) -> String {
        proxy_status(self.reason)
    }
}

/// `reason` as a member of `Proxy-Status` (RFC 9209 §2), for answers of ours and for those we passed on.
pub fn proxy_status(reason: Reason) -> String {
    format!("outrigger; error={}; details=\"{reason}\"", reason.row().proxy_status)
}

/// Rounded up: a caller that comes back too soon is refused again.
fn whole_seconds(after: Duration) -> u64 {
    after.as_secs() + u64::from(after.subsec_nanos() > 0)
}

/// `grpc-message`: printable ASCII as it is, the rest and `%` percent-encoded (gRPC over HTTP/2).
fn percent(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => out.push(byte as char),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn field<'a>(answer: &'a RefusalAnswer, name: &str) -> &'a str {
        answer.headers.iter().find(|(n, _)| *n == name).map_or("", |(_, value)| value)
    }

    #[test]
    fn every_reason_has_an_answer_that_names_it() {
        for reason in Reason::ALL {
            let answer = Refusal::of(*reason).answer(RequestId::mint(0, 0), false);
            assert_eq!(
                (answer.status, field(&answer, "x-outrigger-reason")),
                (reason.status(), reason.as_str())
            );
            let problem: ProblemBody = serde_json::from_slice(&answer.body).unwrap();
            assert_eq!(problem.reason, Some(*reason));
        }
    }

    #[test]
    fn who_is_limited_hears_by_what_and_until_when() {
        let quota = Quota { name: "per-caller".parse().unwrap(), most: 100, seconds: 60 };
        let refusal = Refusal::of(Reason::RateLimited).retry_after(Duration::from_millis(2_500)).quota(quota);
        let answer = refusal.answer(RequestId::mint(0, 0), false);
        assert_eq!(answer.status, 429);
        let told =
            ["retry-after", "ratelimit-policy", "ratelimit"].map(|name| field(&answer, name).to_owned());
        assert_eq!(told, ["3", "\"per-caller\";q=100;w=60", "\"per-caller\";r=0;t=3"]);
    }

    #[test]
    fn a_grpc_caller_hears_its_own_status_and_a_wait_is_rounded_up() {
        let refusal =
            Refusal::of(Reason::RateLimited).detail("50% of €").retry_after(Duration::from_millis(1_001));
        let answer = refusal.answer(RequestId::mint(0, 0), true);
        assert_eq!(
            (answer.status, field(&answer, "grpc-status"), field(&answer, "retry-after")),
            (200, "8", "2")
        );
        assert_eq!(field(&answer, "grpc-message"), "rate_limited: 50%25 of %E2%82%AC");
        assert!(answer.body.is_empty());
    }
}
