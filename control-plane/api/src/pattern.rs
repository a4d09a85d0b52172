//! Services by pattern: one, those of a namespace, or all.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::name::{Namespace, ServiceKey};

/// Which services are meant. Written `*`, `*.NAMESPACE`, or as a service's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum ServicePattern {
    /// Every service.
    All,
    /// Those of one namespace.
    Namespace(Namespace),
    /// One service.
    Service(ServiceKey),
}

impl ServicePattern {
    /// Whether `service` is meant.
    pub fn means(&self, service: &ServiceKey) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => *namespace == service.namespace,
            Self::Service(one) => one == service,
        }
    }

    /// The namespace that all of them are in; `None` for every service.
    pub fn namespace(&self) -> Option<&Namespace> {
        match self {
            Self::All => None,
            Self::Namespace(namespace) => Some(namespace),
            Self::Service(service) => Some(&service.namespace),
        }
    }
}

impl FromStr for ServicePattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix('*') {
            Some("") => Ok(Self::All),
            Some(rest) => match rest.strip_prefix('.') {
                Some(namespace) => Ok(Self::Namespace(namespace.parse()?)),
                None => Err(format!("{text:?} means no services: write *, *.NAMESPACE or a service's name")),
            },
            None => Ok(Self::Service(text.parse()?)),
        }
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("*"),
            Self::Namespace(namespace) => write!(f, "*.{namespace}"),
            Self::Service(service) => service.fmt(f),
        }
    }
}

impl TryFrom<String> for ServicePattern {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ServicePattern> for String {
    fn from(pattern: ServicePattern) -> Self {
        pattern.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn a_pattern_means_one_those_of_a_namespace_or_all() {
        let services = ["cart", "cart.shop", "search.shop"].map(|name| name.parse::<ServiceKey>().unwrap());
        for (text, wanted) in [
            ("*", [true, true, true]),
            ("*.shop", [false, true, true]),
            ("cart.shop", [false, true, false]),
            ("cart", [true, false, false]),
        ] {
            let pattern: ServicePattern = text.parse().unwrap();
            assert_eq!(services.each_ref().map(|service| pattern.means(service)), wanted, "{text}");
            assert_eq!(pattern.to_string(), text);
        }
        for text in ["", "*shop", "*.", "cart.*", "Cart"] {
            assert!(text.parse::<ServicePattern>().is_err(), "{text}");
        }
    }
}
