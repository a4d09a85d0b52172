//! The four forms of a request's target (RFC 9112 §3.2) and what each says about authority and path.

use std::ops::Range;

use super::authority;
use super::method::Method;

/// How a target was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`.
    Origin,
    /// `http://authority/path?query`, as clients write it to a proxy.
    Absolute,
    /// `host:port`, only with `CONNECT`.
    Authority,
    /// `*`, only with `OPTIONS`.
    Asterisk,
}

/// A target taken apart; offsets are bytes into the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) form: Form,
    /// Empty when the form names none.
    pub(super) authority: Range<usize>,
    /// What follows the authority; may be empty or begin with `?` in absolute form.
    pub(super) origin: Range<usize>,
    /// The port that an absolute target means when it names none.
    pub(super) default_port: u16,
}

/// Takes a target apart; `None` when it has no form that goes with its method. Only visible ASCII passes, and
/// never a fragment: two readers disagree on what lies behind the `#`.
pub(super) fn split(method: Method, text: &[u8]) -> Option<Target> {
    // Looked through without a branch per byte: hardly a target has anything to refuse.
    if !text.iter().fold(true, |good, b| good & (b.is_ascii_graphic() & (*b != b'#'))) {
        return None;
    }
    match text {
        [b'/', ..] if method != Method::Connect => target(Form::Origin, 0..0, 0..text.len()),
        _ => of_other_form(method, text),
    }
}

fn target(form: Form, authority: Range<usize>, origin: Range<usize>) -> Option<Target> {
    Some(Target { form, authority, origin, default_port: 80 })
}

/// [`split`] of what does not begin with a path, as hardly any does.
#[inline(never)]
fn of_other_form(method: Method, text: &[u8]) -> Option<Target> {
    let whole = 0..text.len();
    if method == Method::Connect {
        let (_, port) = authority::split(text)?;
        return port.and_then(|_| target(Form::Authority, whole.clone(), whole));
    }
    match text {
        b"*" => (method == Method::Options).then(|| target(Form::Asterisk, 0..0, whole))?,
        _ => absolute(text),
    }
}

fn absolute(text: &[u8]) -> Option<Target> {
    let (scheme, default_port) = [("http://", 80), ("https://", 443)]
        .into_iter()
        .find(|(s, _)| text.get(..s.len()).is_some_and(|t| t.eq_ignore_ascii_case(s.as_bytes())))?;
    let start = scheme.len();
    let end = text[start..].iter().position(|b| b"/?".contains(b)).map_or(text.len(), |at| start + at);
    authority::split(&text[start..end])?;
    Some(Target { form: Form::Absolute, authority: start..end, origin: end..text.len(), default_port })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_go_with_their_methods() {
        let check = |method, text: &str, form| {
            assert_eq!(split(method, text.as_bytes()).map(|t| t.form), form, "{method:?} {text}");
        };
        check(Method::Get, "/", Some(Form::Origin));
        check(Method::Get, "/a?b=//c", Some(Form::Origin));
        check(Method::Get, "http://a/b", Some(Form::Absolute));
        check(Method::Get, "HTTPS://a:1?b", Some(Form::Absolute));
        check(Method::Options, "*", Some(Form::Asterisk));
        check(Method::Connect, "a:443", Some(Form::Authority));
        for (method, text) in [
            (Method::Get, "*"),
            (Method::Get, ""),
            (Method::Get, "a"),
            (Method::Get, "a:443"),
            (Method::Get, "ftp://a/"),
            (Method::Get, "http://"),
            (Method::Get, "http:///a"),
            (Method::Get, "http://u@a/"),
            (Method::Get, "/a#b"),
            (Method::Get, "/a\u{e9}"),
            (Method::Connect, "a"),
            (Method::Connect, "/"),
            (Method::Connect, "http://a/"),
        ] {
            check(method, text, None);
        }
    }
}
