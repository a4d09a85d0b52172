//! Targets (RFC 9112 §3.2) and authorities (RFC 3986 §3.2).

use std::net::Ipv6Addr;

use super::fields::values;
use super::{Line, Rule};

/// Which authority is asked, and the target an origin server is told. A `Host` that is missing where it may
/// be and known from the target is added.
pub(super) fn asked(
    method: &[u8],
    target: &[u8],
    fields: &mut Vec<Line>,
    old: bool,
) -> Result<(Vec<u8>, Vec<u8>), Rule> {
    if target.is_empty() || !target.iter().all(|b| matches!(b, 0x21..=0x7e)) || target.contains(&b'#') {
        return Err("a target is visible and has no fragment");
    }
    let hosts: Vec<Vec<u8>> = values(fields, "host").into_iter().map(<[u8]>::to_vec).collect();
    match &hosts[..] {
        [] if !old => return Err("HTTP/1.1 needs a Host"),
        [] => {}
        [host] => _ = authority(host)?,
        _ => return Err("there is one Host"),
    }
    let (named, origin) = take_apart(method, target)?;
    match (named, hosts.first()) {
        (Some(named), Some(host)) => {
            // Names are compared without their ports: what a missing port means depends on the scheme.
            let same = authority(named)?.eq_ignore_ascii_case(authority(host)?);
            if same { Ok((named.to_vec(), origin)) } else { Err("Host and target agree") }
        }
        (Some(named), None) => {
            fields.push((b"host".to_vec(), named.to_vec()));
            Ok((named.to_vec(), origin))
        }
        (None, host) => Ok((host.cloned().unwrap_or_default(), origin)),
    }
}

type Parts<'a> = (Option<&'a [u8]>, Vec<u8>);

fn take_apart<'a>(method: &[u8], target: &'a [u8]) -> Result<Parts<'a>, Rule> {
    if method == b"CONNECT" {
        let digits = target.iter().rev().take_while(|b| b.is_ascii_digit()).count();
        authority(target)?;
        let ported = digits > 0 && target[..target.len() - digits].ends_with(b":");
        return if ported { Ok((Some(target), target.to_vec())) } else { Err("CONNECT needs a port") };
    }
    if target == b"*" {
        return if method == b"OPTIONS" { Ok((None, target.to_vec())) } else { Err("* is for OPTIONS") };
    }
    if target[0] == b'/' {
        return Ok((None, target.to_vec()));
    }
    let lower = target.to_ascii_lowercase();
    let start = if lower.starts_with(b"http://") {
        7
    } else if lower.starts_with(b"https://") {
        8
    } else {
        return Err("a target has one of four forms");
    };
    let rest = &target[start..];
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    authority(&rest[..end])?;
    let origin = match &rest[end..] {
        [] if method == b"OPTIONS" => b"*".to_vec(),
        [b'/', ..] => rest[end..].to_vec(),
        query => [b"/", query].concat(),
    };
    Ok((Some(&rest[..end]), origin))
}

/// The host of `host[:port]`.
fn authority(text: &[u8]) -> Result<&[u8], Rule> {
    const WRONG: Rule = "an authority is host[:port]";
    let digits = text.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    let before = text.len() - digits;
    let (host, port) = match text[..before] {
        [.., b':'] if !text[..before - 1].contains(&b':') || text[..before - 1].ends_with(b"]") => {
            (&text[..before - 1], &text[before..])
        }
        _ => (text, &b""[..]),
    };
    let number = port.iter().try_fold(0_u32, |n, digit| {
        n.checked_mul(10).and_then(|n| n.checked_add(u32::from(digit - b'0'))).filter(|n| *n <= 65_535)
    });
    number.ok_or(WRONG)?;
    let literal = host.strip_prefix(b"[").and_then(|rest| rest.strip_suffix(b"]"));
    let good = match literal {
        Some(address) => std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok()),
        None => !host.is_empty() && registered(host),
    };
    if good { Ok(host) } else { Err(WRONG) }
}

fn registered(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            [b, rest @ ..] if b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(b) => rest,
            _ => return false,
        };
    }
}
