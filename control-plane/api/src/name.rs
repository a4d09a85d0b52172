//! Names that cannot be mixed up or malformed.
//!
//! Every name is a DNS label (RFC 1123 §2.1: letters, digits, inner hyphens, at most 63 bytes) in lower
//! case, so that `checkout.shop.svc.localhost` can be taken apart without a guess.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A DNS label is at most 63 bytes (RFC 1035 §2.3.4).
pub const LABEL_MAX: usize = 63;

fn check_label(what: &str, text: &str) -> Result<(), String> {
    let bytes = text.as_bytes();
    if bytes.is_empty() || bytes.len() > LABEL_MAX {
        return Err(format!("{what} {text:?} is not a name: 1 to {LABEL_MAX} characters"));
    }
    let inner = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
    if !bytes.iter().all(inner) {
        return Err(format!("{what} {text:?} is not a name: only a-z, 0-9 and inner hyphens"));
    }
    if bytes[0] == b'-' || bytes[bytes.len() - 1] == b'-' {
        return Err(format!("{what} {text:?} is not a name: a hyphen may not stand at either end"));
    }
    Ok(())
}

macro_rules! name {
    ($(#[$doc:meta])* $Name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Eq, PartialOrd, Ord)]
        pub struct $Name(Arc<str>);

        impl $Name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl PartialEq for $Name {
            /// Most that are compared are copies of one name, and each request compares some.
            fn eq(&self, other: &Self) -> bool {
                Arc::ptr_eq(&self.0, &other.0) || self.0 == other.0
            }
        }

        impl Hash for $Name {
            fn hash<H: Hasher>(&self, state: &mut H) {
                self.0.hash(state);
            }
        }

        impl FromStr for $Name {
            type Err = String;
            fn from_str(text: &str) -> Result<Self, String> {
                check_label($what, text)?;
                Ok(Self(text.into()))
            }
        }

        impl fmt::Display for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $Name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $Name {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $Name {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                let text = String::deserialize(from)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

name!(
    /// What groups services; the default is [`Namespace::default`].
    Namespace,
    "namespace"
);
name!(
    /// A service within its namespace.
    ServiceName,
    "service"
);
name!(
    /// A part of a service, or a limit or policy document within its scope.
    Label,
    "name"
);
name!(
    /// A host that runs sidecars, as its operator calls it.
    NodeName,
    "node"
);

impl Default for Namespace {
    /// `default`: the namespace of everyone who never thought about namespaces.
    fn default() -> Self {
        Self("default".into())
    }
}

/// A service in its namespace: what a request asks for. Written `name.namespace`, or `name` alone in the
/// default namespace.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ServiceKey {
    /// The namespace; sorts first, so that a namespace's services stand together.
    pub namespace: Namespace,
    /// The service.
    pub name: ServiceName,
}

impl ServiceKey {
    /// Stands where a request named no service: in records and labels, never in a list.
    pub fn unnamed() -> Self {
        Self { namespace: Namespace::default(), name: ServiceName("-".into()) }
    }

    /// The service `name` of `namespace`.
    pub fn new(namespace: Namespace, name: ServiceName) -> Self {
        Self { namespace, name }
    }
}

impl FromStr for ServiceKey {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('.') {
            None => Ok(Self::new(Namespace::default(), text.parse()?)),
            Some((name, namespace)) => Ok(Self::new(namespace.parse()?, name.parse()?)),
        }
    }
}

impl TryFrom<String> for ServiceKey {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ServiceKey> for String {
    fn from(key: ServiceKey) -> Self {
        key.to_string()
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace == Namespace::default() {
            write!(f, "{}", self.name)
        } else {
            write!(f, "{}.{}", self.name, self.namespace)
        }
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Who sends: a name and what proves it. Rules may demand a proof; claims from the network are stripped.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Caller {
    /// The caller's name; `None` when nobody said.
    pub name: Option<Label>,
    /// What proves the name.
    pub proof: Proof,
}

/// What proves a caller's name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Proof {
    /// Nothing: the name was configured beside the app or merely claimed.
    #[default]
    None,
    /// A verified bearer token.
    Token,
    /// A client certificate.
    Mtls,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_service_key_is_written_as_people_say_it() {
        for (text, namespace, name) in
            [("checkout", "default", "checkout"), ("checkout.shop", "shop", "checkout")]
        {
            let key: ServiceKey = text.parse().unwrap();
            assert_eq!((key.namespace.as_str(), key.name.as_str()), (namespace, name));
            assert_eq!(key.to_string(), text);
        }
    }

    #[test]
    fn what_is_not_a_label_is_refused_with_the_reason() {
        for (text, why) in [("", "1 to 63"), ("Shop", "only a-z"), ("-a", "hyphen"), ("a.b.c", "only a-z")] {
            let told = text.parse::<ServiceKey>().unwrap_err();
            assert!(told.contains(why), "{text}: {told}");
        }
    }
}
