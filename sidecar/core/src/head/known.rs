//! The fields that some stage or wire looks up by name, each with a small id.
//!
//! Ids are found once, while parsing; later lookups compare bytes of one octet. To add a field, add a row.

use super::names::Names;

macro_rules! known {
    ($($Variant:ident = $word:literal),+ $(,)?) => {
        /// A field name that somebody looks up; everything else is [`Known::Claim`] or [`Known::Other`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        pub enum Known {
            $(#[doc = concat!("`", $word, "`.")] $Variant,)+
            /// Another name that begins with `x-outrigger-`, which only a sidecar may say.
            Claim,
            /// A name without an id; use [`find`](super::Fields::find).
            Other,
        }

        const TABLE: &[Row] = &[$(Row::new($word, Known::$Variant)),+];
    };
}

// Ordered by length, so that the last is the longest.
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
    OutriggerCall = "x-outrigger-call",
    OutriggerLoad = "x-outrigger-load",
    ForwardedHost = "x-forwarded-host",
    ForwardedProto = "x-forwarded-proto",
    TransferEncoding = "transfer-encoding",
    ProxyAuthenticate = "proxy-authenticate",
    OutriggerReason = "x-outrigger-reason",
    ProxyAuthorization = "proxy-authorization",
    OutriggerService = "x-outrigger-service",
    RequestTimeout = "x-request-timeout-ms",
    ProxyAuthenticationInfo = "proxy-authentication-info",
}

const LONGEST: usize = TABLE[TABLE.len() - 1].word.len();

/// How every name that is a claim begins.
const CLAIM: &[u8] = b"x-outrigger-";

/// Spreads the names so that each has a place of its own; it was found by trying. Where a new row shares one the build
/// stops, and another odd number is needed.
const SPREAD: u64 = 0x030c_4c89_9bd6_e2bf;
const PLACES: usize = 128;

/// For each place the row that may stand there.
const ROWS: [u8; PLACES] = {
    let (mut rows, mut row) = ([u8::MAX; PLACES], 0);
    while row < TABLE.len() {
        let place = place(TABLE[row].ends);
        assert!(rows[place] == u8::MAX, "two names share a place");
        rows[place] = row as u8;
        row += 1;
    }
    rows
};

/// The one place of a name with these `ends`, in any case.
const fn place([first, last]: [u64; 2]) -> usize {
    /// The bit that letters differ in by their case; set in everything, for this only has to tell known names apart.
    const LOWER: u64 = u64::from_le_bytes([0x20; 8]);
    let mixed = (first | LOWER) ^ (last | LOWER).rotate_left(32);
    (mixed.wrapping_mul(SPREAD) >> (u64::BITS - PLACES.ilog2())) as usize
}

/// A name with what tells it from others of its length in two comparisons.
struct Row {
    word: &'static str,
    id: Known,
    ends: [u64; 2],
    /// The bit that upper and lower case differ in, where the word has a letter.
    letters: [u64; 2],
}

impl Row {
    const fn new(word: &'static str, id: Known) -> Self {
        let (mut letters, mut at) = ([0; 32], 0);
        while at < word.len() {
            letters[at] = if word.as_bytes()[at].is_ascii_lowercase() { 0x20 } else { 0 };
            at += 1;
        }
        Self { word, id, ends: ends(word.as_bytes()), letters: ends(letters.split_at(word.len()).0) }
    }

    /// Whether this is `name` with these `ends`.
    fn is(&self, name: &[u8], ends: [u64; 2]) -> bool {
        let differ = |at: usize| (self.ends[at] ^ ends[at]) & !self.letters[at];
        name.len() == self.word.len()
            && (differ(0) | differ(1)) == 0
            && (name.len() <= 16 || self.word.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// The first and the last eight bytes; of a shorter name all its bytes, some of them twice.
const fn ends(name: &[u8]) -> [u64; 2] {
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return [u64::from_le_bytes(*first), u64::from_le_bytes(*last)];
    }
    if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
        return [u32::from_le_bytes(*first) as u64, u32::from_le_bytes(*last) as u64];
    }
    match name {
        [] => [0, 0],
        [first, .., last] if name.len() == 3 => [*first as u64 | (name[1] as u64) << 8, *last as u64],
        [first, ..] => [*first as u64, name[name.len() - 1] as u64],
    }
}

impl Known {
    /// The length of the longest name with an id of its own.
    pub const LONGEST: usize = LONGEST;

    /// Whether this is the id of one name.
    pub fn has_name(self) -> bool {
        !matches!(self, Self::Claim | Self::Other)
    }

    /// The id of a name, in any case.
    #[inline]
    pub fn of(name: &[u8]) -> Self {
        let ends = ends(name);
        match TABLE.get(usize::from(ROWS[place(ends)])) {
            Some(row) if row.is(name, ends) => row.id,
            _ if name.get(..CLAIM.len()).is_some_and(|name| name.eq_ignore_ascii_case(CLAIM)) => Self::Claim,
            _ => Self::Other,
        }
    }

    /// The name in lower case; empty for a name without an id of its own.
    pub fn name(self) -> &'static str {
        TABLE.get(self as usize).map_or("", |row| row.word)
    }

    /// Whether the wire writes this field itself, so that a received one is never repeated (RFC 9112 §6, §9).
    pub fn wire_owned(self) -> bool {
        Names::WIRE_OWNED.has(self)
    }

    /// Whether the field speaks to the next hop only (RFC 9110 §7.6.1, §11.7).
    pub fn hop_by_hop(self) -> bool {
        Names::HOP_BY_HOP.has(self)
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

#[cfg(test)]
mod tests {
    use super::*;
    use api::message::header;

    #[test]
    fn every_name_is_found_in_any_case() {
        assert!(TABLE.is_sorted_by_key(|row| row.word.len()), "the last row is the longest");
        for (at, Row { word, id, .. }) in TABLE.iter().enumerate() {
            assert_eq!(*id as usize, at, "{word}");
            assert_eq!(Known::of(word.as_bytes()), *id, "{word}");
            assert_eq!(Known::of(word.to_uppercase().as_bytes()), *id, "{word}");
            assert_eq!(id.name(), *word);
        }
        for (id, word) in [
            (Known::RequestId, header::REQUEST_ID),
            (Known::RequestTimeout, header::TIMEOUT),
            (Known::OutriggerService, header::SERVICE),
            (Known::OutriggerCall, header::CALL),
            (Known::OutriggerLoad, header::LOAD),
            (Known::OutriggerReason, header::REASON),
        ] {
            assert_eq!(id.name(), word);
        }
        for claim in ["x-outrigger-", "X-Outrigger-Anything", "x-outrigger-services"] {
            assert_eq!(Known::of(claim.as_bytes()), Known::Claim, "{claim}");
        }
        for other in
            ["", "x", "x-outrigger", "hosts", "content-lengt", "x-a-name-that-is-longer-than-all-of-them"]
        {
            assert_eq!(Known::of(other.as_bytes()), Known::Other, "{other}");
        }
    }
}
