//! Tokens: who asks, and whether that is enough.
//!
//! Without any token the operators' listener is open, as its address on loopback says; the first token, which must
//! be an administrator's, closes it. Secrets are never here, only their digests: 256 random bits need no salt.

use std::collections::BTreeMap;
use std::fmt;

use api::access::{Role, TokenWords};
use api::{Label, Namespace, Problem};
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;

/// Tokens at most: they are for people and pipelines.
const TOKENS_MAX: usize = 1_000;

/// The digest of a token's secret (BLAKE3, in hex).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SecretDigest(pub String);

/// What a request needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// At least this role.
    pub role: Role,
    /// In this namespace; in all of them when `None`.
    pub namespace: Option<Namespace>,
}

/// Why a request is not allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denied {
    /// It shows no token, or one that nobody made (401).
    Unknown,
    /// Its token is not enough (403).
    TooLittle {
        /// Whose it is.
        name: Label,
        /// What it would need.
        need: Need,
    },
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown => f.write_str("send `authorization: Bearer SECRET` with the secret of a token"),
            Self::TooLittle { name, need: Need { role, namespace: Some(space) } } => {
                write!(f, "token {name} is no {role} of namespace {space}")
            }
            Self::TooLittle { name, need: Need { role, namespace: None } } => {
                write!(f, "token {name} is no {role} of all namespaces")
            }
        }
    }
}

/// Every token.
#[derive(Debug, Default)]
pub(crate) struct Access {
    tokens: BTreeMap<Label, (TokenWords, SecretDigest)>,
}

impl Access {
    /// Whether who shows `secret` may do what needs `need`; says as whom, `None` while there are no tokens.
    pub(crate) fn ask(&self, secret: Option<&SecretDigest>, need: &Need) -> Result<Option<Label>, Denied> {
        if self.tokens.is_empty() {
            return Ok(None);
        }
        // Digests of secrets are compared, so that the time it takes says nothing of a secret.
        let known = self.tokens.values().find(|(_, held)| Some(held) == secret).ok_or(Denied::Unknown)?;
        let words = &known.0;
        let there = words.namespaces.is_empty()
            || need.namespace.as_ref().is_some_and(|space| words.namespaces.contains(space))
            // Lists of everything show what the other listener shows to anybody.
            || need.role == Role::Reader;
        match words.role >= need.role && there {
            true => Ok(Some(words.name.clone())),
            false => Err(Denied::TooLittle { name: words.name.clone(), need: need.clone() }),
        }
    }

    /// Whose token `secret` is of; `None` where nobody made it.
    pub(crate) fn whose(&self, secret: Option<&SecretDigest>) -> Option<Label> {
        let secret = secret?;
        self.tokens.values().find(|(_, held)| held == secret).map(|(words, _)| words.name.clone())
    }

    /// Whether such a token may be made.
    pub(crate) fn check(&self, words: &TokenWords) -> Result<(), Refusal> {
        if self.tokens.len() >= TOKENS_MAX {
            return Err(Refusal::Full("tokens"));
        }
        let mut problems = Vec::new();
        if self.tokens.contains_key(&words.name) {
            let what = format!("token {} is there already", words.name);
            problems
                .push(Problem::at("name", what).hint("take it back first; its secret cannot be told again"));
        }
        if self.tokens.is_empty() && !is_master(words) {
            let what = "the first token must be an admin of all namespaces";
            problems.push(Problem::at("role", what).hint("or nobody could make another"));
        }
        if words.role == Role::Admin && !words.namespaces.is_empty() {
            problems.push(Problem::at("namespaces", "an admin is one of all namespaces"));
        }
        if problems.is_empty() { Ok(()) } else { Err(Refusal::Wrong(problems)) }
    }

    /// Whether the token `name` may be taken back: others need an administrator left.
    pub(crate) fn check_removal(&self, name: &Label) -> Result<(), Refusal> {
        if !self.tokens.contains_key(name) {
            return Err(Refusal::NoSuchToken);
        }
        let mut others = self.tokens.iter().filter(|(other, _)| *other != name).map(|(_, (words, _))| words);
        let lone = self.tokens.len() == 1;
        if lone || others.any(is_master) {
            return Ok(());
        }
        let what = format!("{name} is the last admin, and there are other tokens");
        Err(Refusal::Wrong(vec![Problem::at("name", what).hint("take the others back first")]))
    }

    /// A token is there from now on.
    pub(crate) fn put(&mut self, words: TokenWords, secret: SecretDigest) {
        self.tokens.insert(words.name.clone(), (words, secret));
    }

    /// It is not, from now on.
    pub(crate) fn remove(&mut self, name: &Label) {
        self.tokens.remove(name);
    }

    /// Every token, without its secret.
    pub(crate) fn list(&self) -> Vec<TokenWords> {
        self.tokens.values().map(|(words, _)| words.clone()).collect()
    }
}

fn is_master(words: &TokenWords) -> bool {
    words.role == Role::Admin && words.namespaces.is_empty()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn token(name: &str, role: Role, namespaces: &[&str]) -> TokenWords {
        let namespaces = namespaces.iter().map(|space| space.parse().unwrap()).collect();
        TokenWords { name: name.parse().unwrap(), role, namespaces }
    }

    fn access() -> Access {
        let mut access = Access::default();
        for words in [
            token("root", Role::Admin, &[]),
            token("shop-ed", Role::Editor, &["shop"]),
            token("eye", Role::Reader, &[]),
            token("web", Role::Node, &[]),
        ] {
            access.check(&words).unwrap();
            let secret = SecretDigest(words.name.to_string());
            access.put(words, secret);
        }
        access
    }

    fn check(secret: &str, role: Role, namespace: Option<&str>, wanted: Result<&str, &str>) {
        let need = Need { role, namespace: namespace.map(|space| space.parse().unwrap()) };
        let secret = (!secret.is_empty()).then(|| SecretDigest(secret.to_owned()));
        let told = access().ask(secret.as_ref(), &need);
        let told = told.map(|name| name.unwrap().to_string()).map_err(|why| why.to_string());
        match wanted {
            Ok(name) => assert_eq!(told.as_deref(), Ok(name)),
            Err(why) => assert!(told.as_ref().is_err_and(|told| told.contains(why)), "{told:?}"),
        }
    }

    #[test]
    fn a_token_allows_its_role_in_its_namespaces() {
        check("root", Role::Admin, None, Ok("root"));
        check("root", Role::Editor, Some("shop"), Ok("root"));
        check("shop-ed", Role::Editor, Some("shop"), Ok("shop-ed"));
        check("shop-ed", Role::Editor, Some("bank"), Err("no editor of namespace bank"));
        check("shop-ed", Role::Admin, None, Err("no admin of all namespaces"));
        check("shop-ed", Role::Reader, None, Ok("shop-ed"));
        check("eye", Role::Reader, Some("bank"), Ok("eye"));
        check("eye", Role::Editor, Some("bank"), Err("no editor"));
        check("web", Role::Reader, None, Err("no reader"));
        check("", Role::Reader, None, Err("Bearer"));
        check("guess", Role::Reader, None, Err("Bearer"));
    }

    #[test]
    fn nobody_locks_everybody_out() {
        let open = Access::default();
        assert_eq!(open.ask(None, &Need { role: Role::Admin, namespace: None }), Ok(None));
        assert!(open.check(&token("a", Role::Editor, &[])).is_err());
        let mut access = access();
        let root: Label = "root".parse().unwrap();
        assert!(access.check(&token("root", Role::Admin, &[])).is_err(), "twice");
        assert!(access.check_removal(&root).is_err());
        for name in ["shop-ed", "eye", "web"] {
            access.check_removal(&name.parse().unwrap()).unwrap();
            access.remove(&name.parse().unwrap());
        }
        access.check_removal(&root).unwrap();
    }
}
