//! Every "no" of this API, declared once with its status and title, answered as problem+json (RFC 9457).

use std::time::Duration;

use api::Problem;
use api::message::ProblemBody;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use control_core::{Denied, NotListed};

use crate::desk::{Closed, NotHeld};
use crate::store::StoreError;
use crate::writer::NotKept;

/// The media type of RFC 9457.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request is not answered with what it asked for.
#[derive(Debug)]
pub(crate) enum Refused {
    /// State is not loaded yet: an answer now could empty somebody's list.
    NotReady,
    /// Too many requests at once.
    Busy,
    /// As many watches are held as the configuration allows.
    TooManyWatches(u32),
    /// Nobody could be asked in time.
    TooSlow,
    /// The process stops.
    Stopping,
    /// What the path names does not exist.
    NotFound(String),
    /// No route of this listener has that path.
    NoRoute,
    /// A page of another site asks through somebody's browser.
    ForeignPage,
    /// Who asks may not do that.
    Denied(Denied),
    /// A whitelist does not name who asks.
    NotListed(NotListed),
    /// The route exists and knows other methods.
    WrongMethod,
    /// The body is neither JSON nor YAML.
    Malformed(Problem),
    /// The body is well-formed and its words are wrong.
    Wrong(Vec<Problem>),
    /// The body is over its limit.
    TooLarge(usize),
    /// The content type is none that the route reads.
    MediaType(&'static str),
    /// Somebody else wrote in between.
    LostRace(String),
    /// A newer boot of the same node owns it.
    Superseded(String),
    /// Many watches begin at once.
    ComeBack(Duration),
    /// More of a service would leave at once than may.
    BlastRadius(String),
    /// Something else is under way.
    UnderWay(String),
    /// A limit of the registry is reached.
    Full(String),
    /// The disk is full: reads go on.
    DiskFull,
    /// The store does not answer: reads go on.
    StoreAway(String),
}

impl Refused {
    /// A field of the path or a header is wrong.
    pub(crate) fn field(path: &str, what: impl Into<String>) -> Self {
        Self::Wrong(vec![Problem::at(path, what)])
    }

    /// The status, the title, and after how many seconds another try makes sense.
    fn row(&self) -> (StatusCode, &'static str, Option<u32>) {
        match self {
            Self::NotReady => (StatusCode::SERVICE_UNAVAILABLE, "not ready", Some(1)),
            Self::Busy => (StatusCode::SERVICE_UNAVAILABLE, "too many requests at once", Some(1)),
            Self::TooManyWatches(_) => (StatusCode::SERVICE_UNAVAILABLE, "too many watches", Some(5)),
            Self::TooSlow => (StatusCode::SERVICE_UNAVAILABLE, "not answered in time", Some(1)),
            Self::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping", Some(1)),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not found", None),
            Self::NoRoute => (StatusCode::NOT_FOUND, "no such path", None),
            Self::ForeignPage => (StatusCode::FORBIDDEN, "foreign page", None),
            Self::Denied(Denied::Unknown) => (StatusCode::UNAUTHORIZED, "no token", None),
            Self::Denied(Denied::TooLittle { .. }) => (StatusCode::FORBIDDEN, "not allowed", None),
            Self::NotListed(_) => (StatusCode::FORBIDDEN, "not on the whitelist", None),
            Self::WrongMethod => (StatusCode::METHOD_NOT_ALLOWED, "wrong method", None),
            Self::Malformed(_) => (StatusCode::BAD_REQUEST, "malformed body", None),
            Self::Wrong(_) => (StatusCode::UNPROCESSABLE_ENTITY, "wrong words", None),
            Self::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "body too large", None),
            Self::MediaType(_) => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "content type not read here", None),
            Self::LostRace(_) => (StatusCode::PRECONDITION_FAILED, "changed in between", None),
            Self::Superseded(_) => (StatusCode::CONFLICT, "a newer boot owns it", None),
            Self::ComeBack(after) => {
                let after = u32::try_from(after.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
                (StatusCode::SERVICE_UNAVAILABLE, "many come at once", Some(after))
            }
            Self::BlastRadius(_) => (StatusCode::CONFLICT, "too much at once", None),
            Self::UnderWay(_) => (StatusCode::CONFLICT, "a rollout runs", None),
            Self::Full(_) => (StatusCode::SERVICE_UNAVAILABLE, "limit reached", Some(5)),
            Self::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk full", Some(30)),
            Self::StoreAway(_) => (StatusCode::SERVICE_UNAVAILABLE, "store away", Some(5)),
        }
    }

    /// What happened this time, for the caller.
    fn detail(&self) -> String {
        match self {
            Self::NotReady => "state is being loaded; an answer now could empty a list".into(),
            Self::Busy => "nothing was done; come back later".into(),
            Self::TooManyWatches(most) => format!("{most} watches are held, as many as push.watches allows"),
            Self::TooSlow => "the answer was not there in time; a write may still take effect".into(),
            Self::Stopping => "this process stops; another address, or this one later, will answer".into(),
            Self::NotFound(what) | Self::LostRace(what) | Self::Superseded(what) => what.clone(),
            Self::ComeBack(_) => "everybody is let in at a rate; what is known stays in use meanwhile".into(),
            Self::BlastRadius(what) | Self::UnderWay(what) => what.clone(),
            Self::Denied(denied) => denied.to_string(),
            Self::NotListed(why) => why.to_string(),
            Self::Full(what) | Self::StoreAway(what) => what.clone(),
            Self::NoRoute => "this listener has no such path; writes are on the admin listener".into(),
            Self::ForeignPage => {
                "operators write from this listener's own page or from no page at all".into()
            }
            Self::WrongMethod => "the allow header names what the path knows".into(),
            Self::Malformed(problem) => problem.to_string(),
            Self::Wrong(problems) => problems.iter().map(Problem::to_string).collect::<Vec<_>>().join("; "),
            Self::TooLarge(most) => format!("at most {most} bytes are read"),
            Self::MediaType(read) => format!("send {read}"),
            Self::DiskFull => "nothing was written; reads and heartbeats go on".into(),
        }
    }

    fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Malformed(problem) => vec![problem.clone()],
            Self::NotListed(why) => {
                let hint = "GET /v1/whitelists on the operators' listener says who may";
                vec![Problem::at(why.services.to_string(), why.to_string()).hint(hint)]
            }
            Self::Wrong(problems) => problems.clone(),
            _ => Vec::new(),
        }
    }
}

impl From<control_core::Refusal> for Refused {
    fn from(why: control_core::Refusal) -> Self {
        use control_core::Refusal;
        match why {
            Refusal::NotLoaded => Self::NotReady,
            Refusal::NoSession
            | Refusal::NoSuchService(_)
            | Refusal::NoSuchPolicy
            | Refusal::NoRollout
            | Refusal::NoSuchCommand
            | Refusal::NoSuchToken
            | Refusal::NoSuchConfig
            | Refusal::NoSuchWhitelist
            | Refusal::NoSuchException => Self::NotFound(why.to_string()),
            Refusal::ComeBack(after) => Self::ComeBack(after),
            Refusal::BlastRadius { .. } => Self::BlastRadius(why.to_string()),
            Refusal::RolloutRuns(_) => Self::UnderWay(why.to_string()),
            Refusal::NotListed(why) => Self::NotListed(why),
            Refusal::NewerBoot(_) => Self::Superseded(why.to_string()),
            Refusal::Conflict { .. } => Self::LostRace(why.to_string()),
            Refusal::Wrong(problems) => Self::Wrong(problems),
            Refusal::Full(_) => Self::Full(why.to_string()),
        }
    }
}

impl From<Closed> for Refused {
    fn from(_: Closed) -> Self {
        Self::Stopping
    }
}

impl From<NotHeld> for Refused {
    fn from(why: NotHeld) -> Self {
        match why {
            NotHeld::TooMany(most) => Self::TooManyWatches(most),
            NotHeld::Refused(why) => why.into(),
        }
    }
}

impl From<NotKept> for Refused {
    fn from(why: NotKept) -> Self {
        match why {
            NotKept::Refused(why) => why.into(),
            NotKept::Store(why) => why.into(),
            NotKept::Wrong(problem) => Self::Wrong(vec![problem]),
            NotKept::Closed => Self::Stopping,
        }
    }
}

impl From<StoreError> for Refused {
    fn from(why: StoreError) -> Self {
        match why {
            StoreError::Conflict { .. } => Self::LostRace(why.to_string()),
            StoreError::Full => Self::DiskFull,
            StoreError::Closed => Self::Stopping,
            _ => Self::StoreAway(why.to_string()),
        }
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let (status, title, retry_after) = self.row();
        let body = ProblemBody {
            kind: "about:blank".into(),
            title: title.into(),
            status: status.as_u16(),
            detail: self.detail(),
            reason: None,
            instance: String::new(),
            problems: self.problems(),
        };
        let mut answer = (status, axum::Json(body)).into_response();
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if let Some(seconds) = retry_after {
            answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// The one place where the tower stack's errors become answers.
pub(crate) async fn of_stack(why: tower::BoxError) -> Refused {
    if why.is::<tower::load_shed::error::Overloaded>() {
        Refused::Busy
    } else if why.is::<tower::timeout::error::Elapsed>() {
        Refused::TooSlow
    } else {
        Refused::StoreAway(why.to_string())
    }
}

/// Longest time a request other than a held watch may take: a write waits for the disk, nothing else waits.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
