//! What sidecars and the control plane say to each other: JSON bodies of the native API.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | open a session | `POST /v1/sessions` | [`OpenSession`] → [`SessionOpened`] |
//! | heartbeat | `PUT /v1/sessions/{id}` | [`Beat`] → [`BeatHeard`]; 404 says: open a new one |
//! | close | `DELETE /v1/sessions/{id}` | → 204; its instances leave as deregistered |
//! | register | `PUT /v1/sessions/{id}/instances` | [`Instance`](crate::Instance) → [`Registered`] |
//! | deregister | `DELETE /v1/sessions/{id}/instances` | [`Deregister`] → 204 |
//! | query | `GET /v1/namespaces/{ns}/services/{name}/instances` | → [`List`](crate::List) |
//! | watch | `POST /v1/watch` | [`Watch`] → JSON lines of [`News`], or one array of them |
//! | digests | `POST /v1/digests` | [`DigestCheck`] → [`Digests`] |

pub mod header;
mod session;
mod view;
mod watch;

pub use session::{
    Beat, BeatHeard, Deregister, OpenSession, Registered, Rejected, SessionOpened, SharedChecks,
};
pub use view::{PolicyRevision, ProblemBody, ServiceEdit, ServiceView};
pub use watch::{CallerReport, DigestCheck, Digests, News, PolicyNews, Watch, WatchMode};

/// The version of these messages, sent in `x-outrigger-api`.
pub const API_VERSION: &str = "1";

/// Asked of a sidecar's inbound listener, this is answered by the sidecar and tells its load (`x-outrigger-load`).
pub const LOAD_PATH: &str = "/.well-known/outrigger/load";
