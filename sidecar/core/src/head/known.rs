//! The fields that some stage or wire looks up by name, each with a small id.
//!
//! Ids are found once, while parsing; later lookups compare bytes of one octet. To add a field, add a row.

macro_rules! known {
    ($($Variant:ident = $word:literal),+ $(,)?) => {
        /// A field name that somebody looks up; everything else is [`Known::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $word, "`.")] $Variant,)+
            /// A name without an id; use [`find`](super::Fields::find).
            Other,
        }

        const TABLE: &[(&str, Known)] = &[$(($word, Known::$Variant)),+];
    };
}

// Ordered by length: a name is only compared with those as long as itself.
known! {
    Te = "te",
    B3 = "b3",
    Via = "via",
    Host = "host",
    Date = "date",
    Server = "server",
    Expect = "expect",
    Cookie = "cookie",
    Upgrade = "upgrade",
    Trailer = "trailer",
    Forwarded = "forwarded",
    Connection = "connection",
    KeepAlive = "keep-alive",
    Tracestate = "tracestate",
    Traceparent = "traceparent",
    RetryAfter = "retry-after",
    GrpcStatus = "grpc-status",
    ContentType = "content-type",
    GrpcTimeout = "grpc-timeout",
    GrpcMessage = "grpc-message",
    MaxForwards = "max-forwards",
    RequestId = "x-request-id",
    ProxyStatus = "proxy-status",
    Authorization = "authorization",
    ContentLength = "content-length",
    ForwardedFor = "x-forwarded-for",
    IdempotencyKey = "idempotency-key",
    ProxyConnection = "proxy-connection",
    ForwardedHost = "x-forwarded-host",
    ForwardedProto = "x-forwarded-proto",
    TransferEncoding = "transfer-encoding",
    ProxyAuthenticate = "proxy-authenticate",
    ProxyAuthorization = "proxy-authorization",
    OutriggerService = "x-outrigger-service",
    ProxyAuthenticationInfo = "proxy-authentication-info",
}

const LONGEST: usize = TABLE[TABLE.len() - 1].0.len();

/// For each length, where its names begin in the table; one more entry ends the last.
const STARTS: [u8; LONGEST + 2] = {
    let mut starts = [0; LONGEST + 2];
    let (mut row, mut len) = (0, 0);
    while len < starts.len() {
        while row < TABLE.len() && TABLE[row].0.len() < len {
            row += 1;
        }
        starts[len] = row as u8;
        len += 1;
    }
    starts
};

impl Known {
    /// The id of a name, in any case.
    pub fn of(name: &[u8]) -> Self {
        if name.len() > LONGEST {
            return Self::Other;
        }
        let rows = usize::from(STARTS[name.len()])..usize::from(STARTS[name.len() + 1]);
        TABLE[rows].iter().find(|(word, _)| same(word.as_bytes(), name)).map_or(Self::Other, |(_, id)| *id)
    }

    /// The name in lower case; empty for [`Known::Other`].
    pub fn name(self) -> &'static str {
        TABLE.get(self as usize).map_or("", |(word, _)| word)
    }

    /// Whether the wire writes this field itself, so that a received one is never repeated (RFC 9112 §6, §9).
    pub fn wire_owned(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::ContentLength
                | Self::TransferEncoding
        )
    }

    /// Whether the field speaks to the next hop only (RFC 9110 §7.6.1, §11.7).
    pub fn hop_by_hop(self) -> bool {
        matches!(
            self,
            Self::Connection
                | Self::KeepAlive
                | Self::ProxyConnection
                | Self::Te
                | Self::Upgrade
                | Self::ProxyAuthenticate
                | Self::ProxyAuthorization
                | Self::ProxyAuthenticationInfo
        )
    }

    /// Whether a trailer section must not carry the field: framing, routing, authentication or controls that
    /// were needed before the body (RFC 9110 §6.5.1).
    pub fn forbidden_in_trailers(self) -> bool {
        self.wire_owned()
            || self.hop_by_hop()
            || matches!(
                self,
                Self::Host
                    | Self::Expect
                    | Self::Trailer
                    | Self::MaxForwards
                    | Self::Authorization
                    | Self::ContentType
                    | Self::Cookie
                    | Self::OutriggerService
            )
    }
}

/// Whether `name` is the lower-case `word` of the same length. Most rows differ in their first byte; the rest is
/// compared without a branch per byte.
fn same(word: &[u8], name: &[u8]) -> bool {
    let differ = |w: &u8, n: &u8| w ^ n.to_ascii_lowercase();
    word.first().zip(name.first()).is_some_and(|(w, n)| differ(w, n) == 0)
        && word.iter().zip(name).fold(0, |all, (w, n)| all | differ(w, n)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_in_any_case() {
        assert!(TABLE.is_sorted_by_key(|(word, _)| word.len()), "rows are ordered by length");
        for (at, (word, id)) in TABLE.iter().enumerate() {
            assert_eq!(*id as usize, at, "{word}");
            assert_eq!(Known::of(word.as_bytes()), *id, "{word}");
            assert_eq!(Known::of(word.to_uppercase().as_bytes()), *id, "{word}");
            assert_eq!(id.name(), *word);
        }
        for other in ["", "x", "hosts", "content-lengt", "x-a-name-that-is-longer-than-all-of-them"] {
            assert_eq!(Known::of(other.as_bytes()), Known::Other, "{other}");
        }
    }
}
