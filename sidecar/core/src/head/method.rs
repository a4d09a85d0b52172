//! Request methods (RFC 9110 §9), as far as a proxy must tell them apart.

/// A request's method. Methods are case-sensitive; what isn't listed is [`Method::Other`] and keeps its token
/// in the head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`.
    Get,
    /// `HEAD`: the answer has no body.
    Head,
    /// `POST`.
    Post,
    /// `PUT`.
    Put,
    /// `DELETE`.
    Delete,
    /// `CONNECT`: a 2xx answer turns the connection into a tunnel.
    Connect,
    /// `OPTIONS`.
    Options,
    /// `TRACE`.
    Trace,
    /// `PATCH` (RFC 5789).
    Patch,
    /// Any other token.
    Other,
}

impl Method {
    /// The method a token names.
    pub fn of(token: &[u8]) -> Self {
        // Asked first, because most are.
        if token == b"GET" {
            return Self::Get;
        }
        match token {
            b"HEAD" => Self::Head,
            b"POST" => Self::Post,
            b"PUT" => Self::Put,
            b"DELETE" => Self::Delete,
            b"CONNECT" => Self::Connect,
            b"OPTIONS" => Self::Options,
            b"TRACE" => Self::Trace,
            b"PATCH" => Self::Patch,
            _ => Self::Other,
        }
    }

    /// The method's token; `OTHER` stands for all that are not listed, as a metric label would say it.
    pub fn label(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Connect => "CONNECT",
            Self::Options => "OPTIONS",
            Self::Trace => "TRACE",
            Self::Patch => "PATCH",
            Self::Other => "OTHER",
        }
    }

    /// Whether the request asks for nothing to be changed (RFC 9110 §9.2.1).
    pub fn safe(self) -> bool {
        matches!(self, Self::Get | Self::Head | Self::Options | Self::Trace)
    }

    /// Whether sending the request twice means the same as sending it once (RFC 9110 §9.2.2).
    pub fn idempotent(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Put | Self::Delete | Self::Options | Self::Trace => true,
            Self::Post | Self::Connect | Self::Patch | Self::Other => false,
        }
    }

    /// Whether an absent body is worth announcing with `Content-Length: 0` (RFC 9110 §8.6).
    pub fn expects_body(self) -> bool {
        matches!(self, Self::Post | Self::Put | Self::Patch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_case_sensitive_and_what_they_promise_follows_the_rfc() {
        let rows: &[(&str, Method, bool, bool)] = &[
            ("GET", Method::Get, true, true),
            ("get", Method::Other, false, false),
            ("HEAD", Method::Head, true, true),
            ("POST", Method::Post, false, false),
            ("PUT", Method::Put, false, true),
            ("DELETE", Method::Delete, false, true),
            ("PATCH", Method::Patch, false, false),
            ("OPTIONS", Method::Options, true, true),
            ("TRACE", Method::Trace, true, true),
            ("CONNECT", Method::Connect, false, false),
            ("PROPFIND", Method::Other, false, false),
        ];
        for (token, method, safe, idempotent) in rows {
            assert_eq!(Method::of(token.as_bytes()), *method, "{token}");
            assert_eq!((method.safe(), method.idempotent()), (*safe, *idempotent), "{token}");
            let by_name = (crate::exchange::safe(token), crate::exchange::idempotent(token));
            assert_eq!(by_name, (*safe, *idempotent), "{token}");
        }
    }
}
