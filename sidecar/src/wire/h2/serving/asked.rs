//! A block of fields read as a request or as trailers (RFC 9113 §8.1 to §8.5).
//!
//! What came over HTTP/2 is written out as lines and judged by the rules of the other wire; pseudo-fields become the
//! start line and `Host`. The first rule that is broken is the one that is told; the block is read to its end, because
//! the table that it fills serves the blocks behind it.

use std::ops::Range;

use api::Reason;
use sidecar_core::head::{Field, Form, Known, RequestHead, RequestLine, Version, is_token};

use super::super::bad_request;
use super::super::text::{Lines, is_name, is_value, speaks_of_connection};
use crate::wire::h1::{MAX_FIELDS, MAX_HEAD, MAX_TARGET, MAX_TRAILERS};
use crate::wire::{Broken, Trailers};

/// What a field costs besides its bytes (RFC 9113 §6.5.2).
const OVERHEAD: usize = 32;

/// A request while its fields come.
#[derive(Debug)]
pub(super) struct Asked {
    lines: Lines,
    method: Option<Range<usize>>,
    path: Option<Range<usize>>,
    authority: Option<Range<usize>>,
    scheme: bool,
    protocol: Option<Vec<u8>>,
    /// A field that is no pseudo-field came.
    begun: bool,
    /// What a `Host` field said.
    host: Option<Vec<u8>>,
    cookie: Vec<u8>,
    size: usize,
    broken: Option<Broken>,
}

impl Asked {
    /// Nothing came yet.
    pub(super) fn new() -> Self {
        Self {
            lines: Lines::new(),
            method: None,
            path: None,
            authority: None,
            scheme: false,
            protocol: None,
            begun: false,
            host: None,
            cookie: Vec::new(),
            size: 0,
            broken: None,
        }
    }

    /// How long its fields are together, as far as they were heard of.
    pub(super) fn size(&self) -> usize {
        self.size
    }

    /// Hears of a field.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.size += name.len() + value.len() + OVERHEAD;
        self.broken = match name {
            _ if self.size > MAX_HEAD => {
                Some(Broken::Request(Reason::HeadTooLarge, "the head is over 64 KiB"))
            }
            [b':', ..] => self.pseudo(name, value).err(),
            _ => self.regular(name, value).err(),
        };
    }

    fn pseudo(&mut self, name: &[u8], value: &[u8]) -> Result<(), Broken> {
        if self.begun {
            return Err(bad_request("a pseudo-field behind a field"));
        }
        let place = match name {
            b":method" if !value.is_empty() && value.iter().all(|b| is_token(*b)) => &mut self.method,
            b":method" => return Err(bad_request(":method is no token")),
            b":path" if value.len() > MAX_TARGET => {
                return Err(Broken::Request(Reason::TargetTooLong, "the target is over 16 KiB"));
            }
            b":path" => &mut self.path,
            b":authority" if self.authority.is_none() => {
                // `Host`, in front of the other lines.
                self.authority = Some(self.lines.line(b"host", value));
                return Ok(());
            }
            b":scheme" if !self.scheme => {
                self.scheme = true;
                return Ok(());
            }
            b":protocol" if self.protocol.is_none() => {
                self.protocol = Some(value.to_vec());
                return Ok(());
            }
            b":authority" | b":scheme" | b":protocol" => return Err(bad_request("a pseudo-field twice")),
            _ => return Err(bad_request("a pseudo-field that nobody knows")),
        };
        if place.is_some() {
            return Err(bad_request("a pseudo-field twice"));
        }
        *place = Some(self.lines.text(value));
        Ok(())
    }

    fn regular(&mut self, name: &[u8], value: &[u8]) -> Result<(), Broken> {
        self.begun = true;
        judge(name, value).map_err(bad_request)?;
        match name {
            b"host" if self.host.is_some() => return Err(bad_request("more than one Host")),
            b"host" => self.host = Some(value.to_vec()),
            // RFC 9113 §8.2.3: sent in parts, they are one on every other wire. An empty part says nothing and would
            // leave a blank at an end of the line.
            b"cookie" if value.is_empty() => {}
            b"cookie" => {
                self.cookie.extend_from_slice(if self.cookie.is_empty() { b"" } else { b"; " });
                self.cookie.extend_from_slice(value);
            }
            _ => _ = self.lines.line(name, value),
        }
        self.judge_count()
    }

    fn judge_count(&self) -> Result<(), Broken> {
        let over = self.lines.count() > MAX_FIELDS;
        if over { Err(Broken::Request(Reason::HeadTooLarge, "more than 100 fields")) } else { Ok(()) }
    }

    /// The request that was asked.
    pub(super) fn judge(mut self) -> Result<RequestHead, Broken> {
        if let Some(broken) = self.broken {
            return Err(broken);
        }
        let method = self.method.take().ok_or_else(|| bad_request("a request without :method"))?;
        let target = self.path.take().ok_or_else(|| bad_request("a request without :path"))?;
        if !self.scheme {
            return Err(bad_request("a request without :scheme"));
        }
        self.settle_host()?;
        let cookie = std::mem::take(&mut self.cookie);
        if !cookie.is_empty() {
            self.lines.line(b"cookie", &cookie);
        }
        // Two of them became lines only now.
        self.judge_count()?;
        let method = self.settle_protocol(method)?;
        let line = RequestLine { method, target, version: Version::Http2 };
        let fields = self.lines.into_fields();
        let head = RequestHead::new(line, fields).map_err(|rule| bad_request(rule.detail()))?;
        match head.form() {
            Form::Origin | Form::Asterisk => Ok(head),
            Form::Absolute | Form::Authority => Err(bad_request(":path is no path")),
        }
    }

    /// `:authority`, or `Host` where there is none; both must agree.
    fn settle_host(&mut self) -> Result<(), Broken> {
        match (&self.authority, self.host.take()) {
            (Some(named), Some(host)) if !self.lines.at(named).eq_ignore_ascii_case(&host) => {
                Err(bad_request("Host and :authority name different authorities"))
            }
            (Some(_), _) => Ok(()),
            (None, Some(host)) => {
                self.lines.line(b"host", &host);
                Ok(())
            }
            (None, None) => Err(bad_request("neither :authority nor Host")),
        }
    }

    /// An extended CONNECT (RFC 8441 §4) is to the line an upgrade like that of HTTP/1.1. Returns the method.
    fn settle_protocol(&mut self, method: Range<usize>) -> Result<Range<usize>, Broken> {
        let Some(protocol) = self.protocol.take() else { return Ok(method) };
        if self.lines.at(&method) != b"CONNECT" {
            return Err(bad_request(":protocol goes with CONNECT only"));
        }
        if !protocol.eq_ignore_ascii_case(b"websocket") {
            let detail = "an extended CONNECT for another protocol than websocket";
            return Err(Broken::Request(Reason::NotImplemented, detail));
        }
        self.lines.line(b"connection", b"upgrade");
        self.lines.line(b"upgrade", &protocol);
        Ok(self.lines.text(b"GET"))
    }
}

/// Trailers while their fields come.
#[derive(Debug)]
pub(super) struct Behind {
    lines: Lines,
    size: usize,
    broken: Option<&'static str>,
}

impl Behind {
    /// Nothing came yet.
    pub(super) fn new() -> Self {
        Self { lines: Lines::new(), size: 0, broken: None }
    }

    /// Hears of a field.
    pub(super) fn field(&mut self, name: &[u8], value: &[u8]) {
        self.size += name.len() + value.len() + OVERHEAD;
        if self.broken.is_some() {
            return;
        }
        let long = self.size > MAX_TRAILERS || self.lines.count() >= MAX_FIELDS;
        match judge(name, value) {
            _ if long => self.broken = Some("the trailer section is too long"),
            Err(rule) => self.broken = Some(rule),
            Ok(()) => _ = self.lines.line(name, value),
        }
    }

    /// Trailers without those that RFC 9110 §6.5.1 forbids there; `Err` says which rule is broken.
    pub(super) fn judge(self) -> Result<Option<Trailers>, &'static str> {
        if let Some(rule) = self.broken {
            return Err(rule);
        }
        let mut fields = self.lines.into_fields();
        fields.drop_where(|field: Field<'_>| Known::forbidden_in_trailers(field.known));
        Ok((!fields.is_empty()).then(|| Box::new(fields)))
    }
}

fn judge(name: &[u8], value: &[u8]) -> Result<(), &'static str> {
    if !is_name(name) {
        return Err("a field name is no token in lower case");
    }
    if !is_value(value) {
        return Err("a field value holds a control character");
    }
    if value.trim_ascii().len() != value.len() {
        return Err("a field value begins or ends with white space");
    }
    if speaks_of_connection(Known::of(name), value) {
        return Err("a field that speaks to an HTTP/1.1 connection");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(fields: &[(&str, &str)]) -> Result<String, &'static str> {
        let mut asked = Asked::new();
        fields.iter().for_each(|(name, value)| asked.field(name.as_bytes(), value.as_bytes()));
        match asked.judge() {
            Ok(head) => {
                let text = |known| head.get_str(known).unwrap_or_default();
                let (host, cookie) = (text(Known::Host), text(Known::Cookie));
                let upgrade = head.upgrade().map(|to| format!(" to {to}")).unwrap_or_default();
                Ok(format!("{} {} {host} {cookie}{upgrade}", head.method_name(), head.target()))
            }
            Err(Broken::Request(_, rule)) => Err(rule),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_one_wire_refuses_does_not_come_in_by_the_other() {
        let start = [(":method", "GET"), (":scheme", "http"), (":path", "/b?c")];
        let check = |fields: &[(&str, &str)], expected: Result<&str, &str>| {
            let all = [&start[..], fields].concat();
            assert_eq!(judged(&all).as_deref().map_err(|rule| *rule), expected, "{fields:?}");
        };
        let named = |fields: &[(&'static str, &'static str)], expected| {
            check(&[&[(":authority", "a")], fields].concat(), expected);
        };
        named(&[], Ok("GET /b?c a "));
        named(&[("host", "A")], Ok("GET /b?c a "));
        check(&[("host", "a")], Ok("GET /b?c a "));
        named(&[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")], Ok("GET /b?c a a=1; b=2"));
        named(&[("cookie", ""), ("cookie", "a=1"), ("cookie", "")], Ok("GET /b?c a a=1"));
        named(&[("te", "trailers")], Ok("GET /b?c a "));
        named(&[("a\"b", "")], Err("a field name is no token in lower case"));
        named(&[("A", "")], Err("a field name is no token in lower case"));
        named(&[("", "")], Err("a field name is no token in lower case"));
        check(&[], Err("neither :authority nor Host"));
        named(&[("host", "b")], Err("Host and :authority name different authorities"));
        check(&[("host", "a"), ("host", "a")], Err("more than one Host"));
        check(&[(":authority", "u@a")], Err("Host is no host[:port]"));
        named(&[("x", " y")], Err("a field value begins or ends with white space"));
        named(&[("x", "a\r\nb: c")], Err("a field value holds a control character"));
        for name in ["connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"] {
            named(&[(name, "x")], Err("a field that speaks to an HTTP/1.1 connection"));
        }
        named(&[("te", "gzip")], Err("a field that speaks to an HTTP/1.1 connection"));
        named(&[("x", "y"), (":protocol", "z")], Err("a pseudo-field behind a field"));
        for again in [start[0], start[1], start[2], (":authority", "a")] {
            named(&[again], Err("a pseudo-field twice"));
        }
        named(&[(":protocol", "websocket"), (":protocol", "websocket")], Err("a pseudo-field twice"));
        named(&[(":status", "200")], Err("a pseudo-field that nobody knows"));
        named(&[(":protocol", "websocket")], Err(":protocol goes with CONNECT only"));
    }

    #[test]
    fn a_head_is_held_to_its_limits_to_the_byte_and_to_the_field() {
        let start = [(":method", "GET"), (":scheme", "http"), (":authority", "a")];
        let judged = |fields: &[(&str, &str)]| judged(&[&start[..], fields].concat()).map(|_| ());
        let size = |fields: &[(&str, &str)]| -> usize {
            fields.iter().map(|(name, value)| name.len() + value.len() + OVERHEAD).sum()
        };
        let head = |len: usize| {
            let value = "x".repeat(len - size(&start) - size(&[(":path", "/"), ("x", "")]));
            judged(&[(":path", "/"), ("x", &value)])
        };
        assert_eq!([MAX_HEAD, MAX_HEAD + 1].map(head), [Ok(()), Err("the head is over 64 KiB")]);
        let target = |len: usize| judged(&[(":path", &format!("/{}", "x".repeat(len - 1)))]);
        assert_eq!([MAX_TARGET, MAX_TARGET + 1].map(target), [Ok(()), Err("the target is over 16 KiB")]);
        // `Host` is one of them, and so are all parts of a cookie together.
        for (others, more) in [(99, &[][..]), (98, &[("cookie", "a=1"), ("cookie", "b=2"), ("host", "a")])] {
            let most = [&[(":path", "/")], &vec![("x", "y"); others][..], more].concat();
            assert_eq!(judged(&most), Ok(()), "{more:?}");
            assert_eq!(judged(&[&most[..], &[("x", "y")]].concat()), Err("more than 100 fields"), "{more:?}");
        }
    }

    #[test]
    fn an_extended_connect_is_an_upgrade_and_any_other_is_none() {
        let connect = |protocol: &[(&'static str, &'static str)]| {
            judged(
                &[
                    &[(":method", "CONNECT"), (":scheme", "http"), (":path", "/"), (":authority", "a")],
                    protocol,
                ]
                .concat(),
            )
        };
        assert_eq!(connect(&[(":protocol", "websocket")]).as_deref(), Ok("GET / a  to websocket"));
        assert_eq!(
            connect(&[(":protocol", "x")]),
            Err("an extended CONNECT for another protocol than websocket")
        );
        assert!(connect(&[]).is_err());
        assert_eq!(judged(&[(":method", "CONNECT"), (":authority", "a:1")]), Err("a request without :path"));
    }

    #[test]
    fn trailers_lose_what_is_forbidden_there_and_hold_nothing_of_the_start_line() {
        let told = |fields: &[(&str, &str)]| {
            let mut behind = Behind::new();
            fields.iter().for_each(|(name, value)| behind.field(name.as_bytes(), value.as_bytes()));
            behind.judge().map(|trailers| trailers.map_or(0, |trailers| trailers.len()))
        };
        assert_eq!(told(&[("grpc-status", "0"), ("host", "x"), ("x", "y")]), Ok(2));
        assert_eq!(told(&[]), Ok(0));
        assert!(told(&[(":path", "/")]).is_err() && told(&[("connection", "close")]).is_err());
        let long = Err("the trailer section is too long");
        assert_eq!([MAX_FIELDS, MAX_FIELDS + 1].map(|count| told(&vec![("x", "y"); count])), [Ok(100), long]);
        let section = |len: usize| told(&[("x", &"y".repeat(len - "x".len() - OVERHEAD))]);
        assert_eq!([MAX_TRAILERS, MAX_TRAILERS + 1].map(section), [Ok(1), long]);
    }
}
