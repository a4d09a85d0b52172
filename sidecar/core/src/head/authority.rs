//! `host[:port]`, judged once for `Host`, for targets and for what other wires call `:authority`.

use std::cell::RefCell;
use std::net::Ipv6Addr;

/// A longer one is hardly anybody's.
const KEPT_MAX: usize = 128;

thread_local! {
    static LAST: RefCell<Last> = const { RefCell::new(Last { text: Vec::new(), host_len: 0, port: None }) };
}

/// The last one that was found valid on this thread: heads mostly name the one that the head before them named.
struct Last {
    text: Vec<u8>,
    host_len: usize,
    port: Option<u16>,
}

/// Splits a valid authority into host and port; `None` when it breaks RFC 3986 §3.2.2, carries user
/// information, or a comma, which the RFC allows in a name but two joined `Host` lines look like.
#[inline]
pub(super) fn split(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let again = |last: &Last| {
        let same = last.text == text && !text.is_empty();
        same.then(|| (&text[..last.host_len], last.port))
    };
    LAST.with_borrow(again).or_else(|| judge_and_keep(text))
}

#[inline(never)]
fn judge_and_keep(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, port) = judge(text)?;
    if text.len() <= KEPT_MAX {
        LAST.with_borrow_mut(|last| {
            last.text.clear();
            last.text.extend_from_slice(text);
            (last.host_len, last.port) = (host.len(), port);
        });
    }
    Some((host, port))
}

fn judge(text: &[u8]) -> Option<(&[u8], Option<u16>)> {
    let (host, port) = match text.first()? {
        b'[' => {
            let close = text.iter().position(|&b| b == b']')?;
            let literal = std::str::from_utf8(&text[1..close]).ok()?;
            literal.parse::<Ipv6Addr>().ok()?;
            (&text[..=close], &text[close + 1..])
        }
        _ => {
            let (name, port) = text.split_at(name_len(text)?);
            (name, port)
        }
    };
    match port {
        [] | [b':'] => Some((host, None)),
        [b':', digits @ ..] => {
            // Each digit multiplies what fits a port by ten at most: a wider sum never overflows.
            let more = |port: u32, digit: &u8| match digit.wrapping_sub(b'0') {
                digit @ 0..=9 => Some(port * 10 + u32::from(digit)).filter(|port| *port <= u16::MAX.into()),
                _ => None,
            };
            let port = digits.iter().try_fold(0, more)?;
            Some((host, Some(port as u16)))
        }
        _ => None,
    }
}

/// How long the name is that stands before the port, if it is valid.
fn name_len(text: &[u8]) -> Option<usize> {
    let mut rest = text;
    loop {
        match rest {
            [b, more @ ..] if PLAIN[usize::from(*b)] => rest = more,
            [b'%', a, b, more @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest = more,
            [] | [b':', ..] => break,
            _ => return None,
        }
    }
    let len = text.len() - rest.len();
    (len > 0).then_some(len)
}

/// What stands for itself in a name: unreserved and sub-delims of RFC 3986 §2, without the comma.
const PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut b = 0;
    while b < 128 {
        plain[b] = (b as u8).is_ascii_alphanumeric();
        b += 1;
    }
    let (marks, mut at) = (b"-._~!$&'()*+;=", 0);
    while at < marks.len() {
        plain[marks[at] as usize] = true;
        at += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_and_a_port_make_an_authority() {
        let good: &[(&str, &str, Option<u16>)] = &[
            ("a", "a", None),
            ("a:", "a", None),
            ("a.b-c_d:80", "a.b-c_d", Some(80)),
            ("127.0.0.1:65535", "127.0.0.1", Some(65535)),
            ("b:9090", "b", Some(9090)),
            ("[::1]", "[::1]", None),
            ("[::1]:8080", "[::1]", Some(8080)),
            ("a%20b", "a%20b", None),
        ];
        for (text, host, port) in good {
            // The second time it is the last one.
            for _ in 0..2 {
                assert_eq!(split(text.as_bytes()), Some((host.as_bytes(), *port)), "{text}");
            }
        }
        let bad = "| |a b|a,b|a/b|u@a|a:b|a:80:80|a:1:|a:65536|a:+1|[::1|[::1]x|[zz]|::1|a%2|a%zz|a%2g|a%g2|a?b|a#b|:80|a\\b|é";
        for text in bad.split('|') {
            assert_eq!(split(text.as_bytes()), None, "{text:?}");
        }
    }

    #[test]
    fn nothing_of_the_last_one_is_left_in_the_next() {
        // The first two, said together, are the third.
        for (text, host) in [("a", "a"), ("b:1", "b"), ("ab:1", "ab")] {
            assert_eq!(split(text.as_bytes()).map(|(host, _)| host), Some(host.as_bytes()), "{text}");
        }
    }
}
