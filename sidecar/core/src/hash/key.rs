//! What a request is hashed by, taken out of it.

use std::net::IpAddr;

use api::policy::HashKey;

use super::{address, bytes};

/// The hash of what `key` names in a request; `None` when the request has none of it.
pub(crate) fn key_of<'h>(
    key: &HashKey,
    (path, query): (&str, Option<&str>),
    peer: Option<IpAddr>,
    header: impl Fn(&str) -> Option<&'h str>,
) -> Option<u64> {
    let found = match key {
        HashKey::Path => Some(path),
        HashKey::Source => return peer.map(address),
        HashKey::Header(name) => header(name),
        HashKey::Cookie(name) => header("cookie").and_then(|all| named(all, ';', name)),
        HashKey::Query(name) => query.and_then(|all| named(all, '&', name)),
    };
    found.map(|value| bytes(value.as_bytes()))
}

/// The value of `name` among the pairs `name=value`; the first one counts.
fn named<'a>(pairs: &'a str, between: char, name: &str) -> Option<&'a str> {
    pairs
        .split(between)
        .find_map(|pair| pair.trim_start().split_once('=').filter(|(own, _)| *own == name))
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_is_found_where_it_stands() {
        let header = |name: &str| match name {
            "x-user" => Some("ann"),
            "cookie" => Some("theme=dark; sid=42; sid=43"),
            _ => None,
        };
        let check = |key: HashKey, wanted: Option<&str>| {
            let found = key_of(&key, ("/a", Some("x=1&id=7&id=8")), None, header);
            assert_eq!(found, wanted.map(|value| bytes(value.as_bytes())), "{key:?}");
        };
        check(HashKey::Path, Some("/a"));
        check(HashKey::Source, None);
        check(HashKey::Header("x-user".into()), Some("ann"));
        check(HashKey::Header("x-none".into()), None);
        check(HashKey::Cookie("sid".into()), Some("42"));
        check(HashKey::Cookie("id".into()), None);
        check(HashKey::Query("id".into()), Some("7"));
        check(HashKey::Query("d".into()), None);
    }

    #[test]
    fn a_source_is_one_host_whatever_it_asks_for() {
        let of = |peer: Option<[u8; 4]>, path| {
            key_of(&HashKey::Source, (path, None), peer.map(IpAddr::from), |_| None)
        };
        assert_eq!(of(Some([10, 0, 0, 1]), "/a"), of(Some([10, 0, 0, 1]), "/b"));
        assert_ne!(of(Some([10, 0, 0, 1]), "/a"), of(Some([10, 0, 0, 2]), "/a"));
        assert_eq!(of(None, "/a"), None, "a Unix socket has no address");
    }
}
