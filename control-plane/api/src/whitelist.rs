//! Whitelists: who may register, subscribe and edit, by service.
//!
//! | verb | method and path | body → answer |
//! |---|---|---|
//! | list | `GET /v1/whitelists` | → [`WhitelistView`]s |
//! | put | `PUT /v1/whitelists/{name}` | [`Whitelist`] → 204 |
//! | take out | `DELETE /v1/whitelists/{name}` | → 204 |

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::choice::choice;
use crate::name::Label;
use crate::pattern::ServicePattern;

choice! {
    /// What a whitelist is asked about.
    #[derive(PartialOrd, Ord)]
    pub enum Doing {
        /// Put an instance on a service's list.
        Register = "register",
        /// Hear of a service's list.
        Subscribe = "subscribe",
        /// Write what concerns a service or its namespace.
        Edit = "edit",
    }
}

/// Somebody a whitelist names. Written `*`, `token:NAME`, or `address:IP` or `address:IP/BITS`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Who {
    /// Anybody.
    Anybody,
    /// Who shows the token of that name.
    Token(Label),
    /// Who comes from these addresses; believed only because it was said.
    Address {
        /// The first bits of the address.
        net: IpAddr,
        /// How many of them count.
        bits: u8,
    },
}

impl Who {
    /// Whether who comes from `address` with the token `token` is meant.
    pub fn means(&self, address: IpAddr, token: Option<&Label>) -> bool {
        match self {
            Self::Anybody => true,
            Self::Token(name) => token == Some(name),
            Self::Address { net, bits } => match (net, address.to_canonical()) {
                (IpAddr::V4(net), IpAddr::V4(address)) => {
                    let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
                    net.to_bits() & mask == address.to_bits() & mask
                }
                (IpAddr::V6(net), IpAddr::V6(address)) => {
                    let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                    net.to_bits() & mask == address.to_bits() & mask
                }
                _ => false,
            },
        }
    }
}

impl FromStr for Who {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Anybody);
        }
        if let Some(name) = text.strip_prefix("token:") {
            return Ok(Self::Token(name.parse()?));
        }
        let wrong = || format!("{text:?} names nobody: write *, token:NAME, address:IP or address:IP/BITS");
        let address = text.strip_prefix("address:").ok_or_else(wrong)?;
        let (net, bits) = match address.split_once('/') {
            Some((net, bits)) => (net, Some(bits.parse::<u8>().map_err(|_| wrong())?)),
            None => (address, None),
        };
        let net: IpAddr = net.parse().map_err(|_| wrong())?;
        let most = if net.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(wrong()) } else { Ok(Self::Address { net, bits }) }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anybody => f.write_str("*"),
            Self::Token(name) => write!(f, "token:{name}"),
            Self::Address { net, bits } => write!(f, "address:{net}/{bits}"),
        }
    }
}

impl TryFrom<String> for Who {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Who> for String {
    fn from(who: Who) -> Self {
        who.to_string()
    }
}

/// A whitelist. What it leaves out it says nothing about; an empty list means nobody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whitelist {
    /// Which services.
    pub services: ServicePattern,
    /// Who may register instances of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub register: Option<Vec<Who>>,
    /// Who may hear of their lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscribe: Option<Vec<Who>>,
    /// Who may write what concerns them; beside the role that this needs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub edit: Option<Vec<Who>>,
}

impl Whitelist {
    /// Whom it lets do `doing`; `None` where it says nothing about that.
    pub fn whom(&self, doing: Doing) -> Option<&[Who]> {
        match doing {
            Doing::Register => self.register.as_deref(),
            Doing::Subscribe => self.subscribe.as_deref(),
            Doing::Edit => self.edit.as_deref(),
        }
    }
}

/// A whitelist and its name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WhitelistView {
    /// What it is called.
    pub name: Label,
    /// What it says.
    pub words: Whitelist,
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn somebody_is_meant_by_token_or_by_address() {
        for (who, address, token, wanted) in [
            ("*", "10.0.0.1", None, true),
            ("token:web", "10.0.0.1", Some("web"), true),
            ("token:web", "10.0.0.1", Some("other"), false),
            ("token:web", "10.0.0.1", None, false),
            ("address:10.0.0.0/8", "10.9.9.9", None, true),
            ("address:10.0.0.0/8", "::ffff:10.9.9.9", None, true),
            ("address:10.0.0.0/8", "11.0.0.0", None, false),
            ("address:10.0.0.1", "10.0.0.2", None, false),
            ("address:0.0.0.0/0", "10.0.0.2", None, true),
            ("address:fd00::/8", "fd12::1", None, true),
            ("address:::/0", "10.0.0.2", None, false),
        ] {
            let meant = who.parse::<Who>().unwrap();
            let token = token.map(|name| name.parse::<Label>().unwrap());
            assert_eq!(meant.means(address.parse().unwrap(), token.as_ref()), wanted, "{who} {address}");
        }
        for wrong in ["", "web", "token:", "address:10.0.0.0/33", "address:ten", "address:10.0.0.0/x"] {
            assert!(wrong.parse::<Who>().is_err(), "{wrong}");
        }
    }
}
