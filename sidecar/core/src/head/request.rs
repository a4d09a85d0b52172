//! The head of a request.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};

use super::fields::{Fields, elements};
use super::known::Known;
use super::method::Method;
use super::target::{self, Form, Target};
use super::{Version, authority, narrow};

/// Why a request's head cannot be believed, whatever wire it came on. Each is the client's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHead {
    /// The target has no form of RFC 9112 §3.2 that goes with its method.
    Target,
    /// HTTP/1.1 without `Host`.
    NoHost,
    /// More than one `Host`.
    SeveralHosts,
    /// A `Host` that is no `host[:port]`.
    Host,
    /// `Host` names another authority than the target.
    HostDisagrees,
}

impl fmt::Display for BadHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.detail())
    }
}

impl BadHead {
    /// The rule that was broken.
    pub fn detail(self) -> &'static str {
        match self {
            Self::Target => "the target has no form that goes with its method",
            Self::NoHost => "Host is missing",
            Self::SeveralHosts => "more than one Host",
            Self::Host => "Host is no host[:port]",
            Self::HostDisagrees => "Host and the target name different authorities",
        }
    }
}

/// Where the parts of a request line lie: bytes into the buffer attached to the fields.
#[derive(Clone, Debug)]
pub struct RequestLine {
    /// The method's token.
    pub method: Range<usize>,
    /// The target as it was written.
    pub target: Range<usize>,
    /// The announced version.
    pub version: Version,
}

/// A request's start line and fields. Its fields are reached through `Deref`.
#[derive(Clone, Debug)]
pub struct RequestHead {
    /// With the start line: a head moves often, from the wire to where it stays.
    fields: Fields,
}

/// What a start line said, where its fields are kept.
#[derive(Clone, Debug)]
pub(super) struct Start {
    method: Method,
    version: Version,
    form: Form,
    token: Range<u32>,
    /// What is sent as target, unless `rewritten`.
    target: Range<u32>,
    /// The target's authority; empty when it names none.
    authority: Range<u32>,
    rewritten: Option<Box<str>>,
}

/// That of fields without one.
pub(super) static NONE: Start = START;

/// For new fields.
pub(super) const START: Start = Start {
    method: Method::Get,
    version: Version::Http11,
    form: Form::Origin,
    token: 0..0,
    target: 0..0,
    authority: 0..0,
    rewritten: None,
};

impl Start {
    /// Keeps no memory of its own for the next head.
    pub(super) fn forget(&mut self) {
        self.rewritten = None;
    }
}

/// A target without its query, and what follows its first `?`.
pub fn path_and_query(target: &str) -> (&str, Option<&str>) {
    // By the byte: most targets are too short for a searcher to be worth its making.
    match target.bytes().position(|b| b == b'?') {
        Some(at) => (&target[..at], Some(&target[at + 1..])),
        None => (target, None),
    }
}

impl RequestHead {
    /// Judges target and `Host` and makes the head. An HTTP/1.0 request may lack `Host`; with an absolute
    /// target it then gets the target's.
    pub fn new(line: RequestLine, mut fields: Fields) -> Result<Self, BadHead> {
        let RequestLine { method: token, target, version } = line;
        let received = fields.text();
        let method = Method::of(received.get(token.clone()).unwrap_or_default());
        let text = received.get(target.clone()).unwrap_or_default();
        let parts = target::split(method, text).ok_or(BadHead::Target)?;
        let host = || judge_host(&fields, version);
        // Most targets name no authority: nothing is compared with `Host` then, and nothing put in its place.
        let (rewritten, missing_host) = match parts.form {
            Form::Origin | Form::Asterisk => host().map(|_| (None, None))?,
            Form::Absolute | Form::Authority => named(method, text, parts.clone(), host()?)?,
        };
        if let Some(host) = missing_host {
            fields.append("host", host);
        }
        let place = |part: Range<usize>| narrow(target.start + part.start..target.start + part.end);
        fields.lent.parts().request = Start {
            method,
            version,
            form: parts.form,
            token: narrow(token),
            target: place(parts.origin),
            authority: place(parts.authority),
            rewritten,
        };
        Ok(Self { fields })
    }

    /// An HTTP/1.1 request of our own: health checks, load probes, tests. For [`Method::Other`] use
    /// [`RequestHead::new`].
    pub fn build(method: Method, target: &str, host: &str) -> Result<Self, BadHead> {
        let token = method.label();
        let raw = format!("{token} {target} HTTP/1.1\r\n");
        let mut fields = Fields::new();
        fields.receive(raw.as_bytes());
        fields.append("host", host);
        let target = token.len() + 1..token.len() + 1 + target.len();
        Self::new(RequestLine { method: 0..token.len(), target, version: Version::Http11 }, fields)
    }

    fn start(&self) -> &Start {
        self.fields.lent.request()
    }

    /// The method.
    pub fn method(&self) -> Method {
        self.start().method
    }

    /// The method's token as it was written.
    pub fn method_name(&self) -> &str {
        match self.method() {
            Method::Other => self.text(&self.start().token),
            method => method.label(),
        }
    }

    /// The announced version.
    pub fn version(&self) -> Version {
        self.start().version
    }

    /// How the target was written.
    pub fn form(&self) -> Form {
        self.start().form
    }

    /// The target as an origin server is told it: path and query, `*`, or `host:port` for `CONNECT`.
    pub fn target(&self) -> &str {
        let Start { rewritten, target, .. } = self.start();
        rewritten.as_deref().unwrap_or_else(|| self.text(target))
    }

    /// The target without its query.
    pub fn path(&self) -> &str {
        path_and_query(self.target()).0
    }

    /// What follows the target's first `?`.
    pub fn query(&self) -> Option<&str> {
        path_and_query(self.target()).1
    }

    /// The authority asked for: the target's, else that of `Host`; `None` only in HTTP/1.0.
    pub fn authority(&self) -> Option<&str> {
        match self.text(&self.start().authority) {
            "" => self.get_str(Known::Host),
            named => Some(named),
        }
    }

    /// Puts another path and query in the target's place; it must be in origin form.
    pub fn rewrite_target(&mut self, origin: &str) -> Result<(), BadHead> {
        match target::split(Method::Get, origin.as_bytes()) {
            Some(parts) if parts.form == Form::Origin => {
                self.fields.lent.parts().request.rewritten = Some(origin.into());
                Ok(())
            }
            _ => Err(BadHead::Target),
        }
    }

    /// Whether the client wants to use the connection again (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        self.fields.keep_alive(self.version())
    }

    /// The one protocol the client asks to switch to (RFC 9110 §7.8); `None` when `Connection` does not name
    /// it, in HTTP/1.0, and when several lines compete.
    pub fn upgrade(&self) -> Option<&str> {
        self.fields.upgrade(self.version())
    }

    /// Whether the client waits for `100 Continue` before its body (RFC 9110 §10.1.1).
    pub fn expects_continue(&self) -> bool {
        self.version() >= Version::Http11 && self.lists(Known::Expect, "100-continue")
    }

    /// Whether it expects nothing but `100-continue` (RFC 9110 §10.1.1); HTTP/1.0 has no expectations.
    pub fn expects_nothing_unknown(&self) -> bool {
        let known = |value| elements(value).all(|e| e.eq_ignore_ascii_case(b"100-continue"));
        self.version() < Version::Http11 || self.get_all(Known::Expect).all(known)
    }

    /// Appends start line and fields to `out`, without framing and the closing blank line.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_with(None, out);
    }

    /// [`RequestHead::write`] where a body of `length` is announced: whether what was appended says so already.
    pub fn write_with(&self, length: Option<u64>, out: &mut Vec<u8>) -> bool {
        if let Some(line) = self.line_as_it_came() {
            return self.fields.write_behind(line, length, out);
        }
        for part in [self.method_name(), " ", self.target(), " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        self.fields.write_behind(0..0, length, out)
    }

    /// Where the received start line lies, if it is the one to be sent.
    fn line_as_it_came(&self) -> Option<Range<u32>> {
        const REST: &[u8] = b" HTTP/1.1\r\n";
        let Start { rewritten, form, token, target, .. } = self.start();
        let kept = rewritten.is_none() && *form != Form::Absolute;
        let rest = self.fields.text().get(target.end as usize..)?;
        (kept && rest.starts_with(REST)).then(|| token.start..target.end + REST.len() as u32)
    }

    fn text(&self, span: &Range<u32>) -> &str {
        std::str::from_utf8(self.fields.part(span)).unwrap_or_default()
    }
}

impl Deref for RequestHead {
    type Target = Fields;
    fn deref(&self) -> &Fields {
        &self.fields
    }
}

impl DerefMut for RequestHead {
    fn deref_mut(&mut self) -> &mut Fields {
        &mut self.fields
    }
}

impl Fields {
    pub(super) fn keep_alive(&self, version: Version) -> bool {
        // Most heads leave it to their version.
        if !self.may_have(&[Known::Connection]) {
            return version >= Version::Http11;
        }
        let close = self.lists(Known::Connection, "close");
        !close && (version >= Version::Http11 || self.lists(Known::Connection, "keep-alive"))
    }

    pub(super) fn upgrade(&self, version: Version) -> Option<&str> {
        if !self.may_have(&[Known::Upgrade]) {
            return None;
        }
        // On HTTP/2 no peer can say so in these words: its wire does, for an extended CONNECT (RFC 8441).
        let asked = version >= Version::Http11 && self.lists(Known::Connection, "upgrade");
        let single = self.get_all(Known::Upgrade).count() == 1;
        if asked && single { self.get_str(Known::Upgrade) } else { None }
    }
}

type Split<'a> = (&'a [u8], Option<u16>);

/// What is sent in the place of a target, and the `Host` of a request that has none.
type Replaced = (Option<Box<str>>, Option<Vec<u8>>);

/// What becomes of a target that names an authority. `Host` must name the same.
#[inline(never)]
fn named(method: Method, text: &[u8], parts: Target, host: Option<Split<'_>>) -> Result<Replaced, BadHead> {
    let authority = &text[parts.authority];
    if let (Some((a, a_port)), Some((b, b_port))) = (authority::split(authority), host) {
        let same_port = match parts.form {
            Form::Authority => b_port.is_none() || a_port == b_port,
            _ => a_port.unwrap_or(parts.default_port) == b_port.unwrap_or(parts.default_port),
        };
        if !a.eq_ignore_ascii_case(b) || !same_port {
            return Err(BadHead::HostDisagrees);
        }
    }
    let origin = &text[parts.origin];
    let rewritten = match origin.first() {
        Some(b'/') => None,
        _ if parts.form != Form::Absolute => None,
        None if method == Method::Options => Some("*".into()),
        _ => Some(format!("/{}", String::from_utf8_lossy(origin)).into()),
    };
    Ok((rewritten, host.is_none().then(|| authority.to_vec())))
}

fn judge_host(fields: &Fields, version: Version) -> Result<Option<Split<'_>>, BadHead> {
    let mut hosts = fields.get_all(Known::Host);
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => authority::split(host).map(Some).ok_or(BadHead::Host),
        (Some(_), Some(_)) => Err(BadHead::SeveralHosts),
        (None, _) if version == Version::Http11 => Err(BadHead::NoHost),
        (None, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn check(method: Method, target: &str, host: &str, wanted: &str) {
        let got = match RequestHead::build(method, target, host) {
            Ok(head) => format!("{} {}", head.authority().unwrap_or("-"), head.target()),
            Err(bad) => format!("{bad:?}"),
        };
        assert_eq!(got, wanted, "{method:?} {target} with Host {host:?}");
    }

    #[test]
    fn target_and_host_make_one_authority() {
        check(Method::Get, "/a?b", "x", "x /a?b");
        check(Method::Get, "http://X/a", "x", "X /a");
        check(Method::Get, "http://x:80/a", "x", "x:80 /a");
        check(Method::Get, "http://x", "x", "x /");
        check(Method::Get, "http://x?q", "x", "x /?q");
        check(Method::Options, "http://x", "x", "x *");
        check(Method::Options, "*", "x", "x *");
        check(Method::Connect, "x:443", "x:443", "x:443 x:443");
        check(Method::Connect, "x:443", "x", "x:443 x:443");
        check(Method::Get, "http://x/", "y", "HostDisagrees");
        check(Method::Get, "http://x:81/", "x", "HostDisagrees");
        check(Method::Get, "https://x/", "x:443", "x /");
        check(Method::Get, "https://x/", "x:80", "HostDisagrees");
        check(Method::Connect, "x:443", "x:80", "HostDisagrees");
        check(Method::Get, "/", "a,b", "Host");
        check(Method::Get, "/", "", "Host");
        check(Method::Get, "a", "a", "Target");
    }

    #[test]
    fn a_rewritten_target_is_written() {
        let head = RequestHead::build(Method::Get, "http://x/a?b=c", "x").unwrap();
        assert_eq!((head.path(), head.query()), ("/a", Some("b=c")));
        for target in ["http://x/a?b=c", "/a"] {
            let mut head = RequestHead::build(Method::Get, target, "x").unwrap();
            head.rewrite_target("/z?y").unwrap();
            assert_eq!(head.rewrite_target("http://evil/"), Err(BadHead::Target));
            assert_eq!(head.rewrite_target("/a b"), Err(BadHead::Target));
            let mut out = Vec::new();
            head.write(&mut out);
            assert_eq!(&out[..], b"GET /z?y HTTP/1.1\r\nhost: x\r\n", "for {target}");
        }
    }

    #[test]
    fn keep_alive_upgrade_and_expect_are_read_from_lists() {
        let mut head = RequestHead::build(Method::Get, "/", "x").unwrap();
        assert!(head.keep_alive());
        head.append("Connection", "Keep-Alive, Upgrade");
        assert_eq!(head.upgrade(), None);
        head.append("upgrade", "websocket");
        assert_eq!(head.upgrade(), Some("websocket"));
        head.append("expect", "100-Continue");
        assert!(head.expects_continue() && head.expects_nothing_unknown());
        head.append("expect", "100-continue, x");
        assert!(!head.expects_nothing_unknown());
        head.append("connection", "CLOSE");
        assert!(!head.keep_alive());
    }

    #[test]
    fn who_is_of_an_old_version_or_says_half_neither_switches_nor_waits() {
        use Version::{Http10, Http11};
        let check = |version, lines: &[(&str, &str)], upgrade, waits| {
            let mut fields = Fields::new();
            fields.receive(b"GET /");
            lines.iter().for_each(|(name, value)| fields.append(name, value));
            fields.append("host", "x");
            let head = RequestHead::new(RequestLine { method: 0..3, target: 4..5, version }, fields).unwrap();
            assert_eq!((head.upgrade(), head.expects_continue()), (upgrade, waits), "{version:?} {lines:?}");
            assert!(head.expects_nothing_unknown(), "{version:?} {lines:?}");
        };
        let (wish, names_it, waits) =
            (("upgrade", "websocket"), ("connection", "upgrade"), ("expect", "100-continue"));
        check(Http11, &[], None, false);
        check(Http11, &[wish, names_it, waits], Some("websocket"), true);
        check(Http10, &[wish, names_it, waits], None, false);
        check(Http10, &[("expect", "x")], None, false);
        check(Http11, &[wish], None, false);
        check(Http11, &[wish, ("connection", "close")], None, false);
        check(Http11, &[wish, ("upgrade", "h2c"), names_it], None, false);
    }
}
