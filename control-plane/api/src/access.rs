//! Who may do what on the operators' listener.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | make a token | `POST /v1/tokens` | [`TokenWords`] → [`TokenMade`], the only time its secret is told |
//! | list | `GET /v1/tokens` | → [`TokenWords`]s |
//! | take back | `DELETE /v1/tokens/{name}` | → 204 |

use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::name::{Label, Namespace};

choice! {
    /// What a token's holder may do; each may do what those before it may.
    #[derive(PartialOrd, Ord)]
    pub enum Role {
        /// Stand beside apps: what a sidecar shows, so that whitelists know it. Nothing here.
        Node = "node",
        /// Look.
        Reader = "reader",
        /// Write policies, roll them out, set services, write config, give commands; read the audit.
        Editor = "editor",
        /// Make tokens, adopt the store.
        Admin = "admin",
    }
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenWords {
    /// Its name: the author of what its holder writes.
    pub name: Label,
    /// What its holder may do.
    pub role: Role,
    /// Where; everywhere when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub namespaces: Vec<Namespace>,
}

/// A token that was just made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenMade {
    /// Its words.
    pub words: TokenWords,
    /// What its holder sends as `authorization: Bearer SECRET`; kept by nobody else.
    pub secret: String,
}
