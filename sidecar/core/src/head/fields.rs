//! The field lines of a message: spans into one text, a mark on the dropped ones, and lines of our own behind those
//! that came.

use std::ops::Range;

use super::known::Known;
use super::names::Names;
use super::offset;
use super::spare::Lent;

/// Where one field line lies in the text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Span {
    pub(super) line: u32,
    pub(super) value: u32,
    pub(super) value_end: u32,
    /// One past the line's CRLF.
    pub(super) end: u32,
    name_len: u16,
    known: Known,
    dropped: bool,
}

/// The fields of a head, or a trailer section.
#[derive(Clone, Debug, Default)]
pub struct Fields {
    pub(super) lent: Lent,
    /// The names that may be here: what is not in it was never noted, or all of it was dropped. Most lookups ask
    /// for what a head has not.
    names: Names,
}

/// One field that is still part of the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as it was written.
    pub name: &'a [u8],
    /// The value without surrounding white space.
    pub value: &'a [u8],
    /// The name's id.
    pub known: Known,
}

impl Fields {
    /// No fields.
    pub fn new() -> Self {
        Self::default()
    }

    /// Notes a received line. Offsets are bytes into the text that [`Fields::receive`] brings: the line
    /// begins with its name at `line`, its trimmed value is `value`, and `end` is one past its CRLF.
    pub fn note(&mut self, name: &[u8], line: usize, value: Range<usize>, end: usize) {
        self.note_as(Known::of(name), name.len(), line, value, end);
    }

    /// [`Fields::note`] of a name whose id was found already; only its length is needed then.
    pub fn note_as(&mut self, known: Known, name_len: usize, line: usize, value: Range<usize>, end: usize) {
        self.names = self.names.with(known);
        self.lent.parts().spans.push(Span {
            line: offset(line),
            value: offset(value.start),
            value_end: offset(value.end),
            end: offset(end),
            name_len: u16::try_from(name_len).unwrap_or(u16::MAX),
            known,
            dropped: false,
        });
    }

    /// Appends what was received, as it came; returns where it lies. It is copied, so that what a connection read into
    /// is free again.
    pub fn receive(&mut self, text: &[u8]) -> Range<usize> {
        self.lent.parts().unbroken = false;
        self.take_in(text)
    }

    /// [`Fields::receive`] of all that comes of a head, where every line was noted: they lie one behind the other, up to its
    /// end.
    pub fn receive_lines(&mut self, text: &[u8]) {
        self.take_in(text);
        self.lent.parts().unbroken = true;
    }

    fn take_in(&mut self, text: &[u8]) -> Range<usize> {
        let own = &mut self.lent.parts().text;
        let start = own.len();
        own.extend_from_slice(text);
        start..own.len()
    }

    /// What was received at `range`.
    pub fn received(&self, range: &Range<usize>) -> &[u8] {
        self.text().get(range.clone()).unwrap_or_default()
    }

    /// What was received, start line and fields, with the lines of our own behind it.
    pub(super) fn text(&self) -> &[u8] {
        self.lent.text()
    }

    /// The part of that at `range`.
    pub(super) fn part(&self, range: &Range<u32>) -> &[u8] {
        self.slice(range.start, range.end)
    }

    /// How many lines were noted or appended, dropped ones among them.
    pub fn noted(&self) -> usize {
        self.lent.spans().len()
    }

    /// How many fields are still part of the message.
    pub fn len(&self) -> usize {
        self.lent.spans().iter().filter(|span| !span.dropped).count()
    }

    /// Whether no field is left.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The fields in order.
    pub fn iter(&self) -> impl Iterator<Item = Field<'_>> {
        self.lent.spans().iter().filter(|span| !span.dropped).map(|span| self.field(span))
    }

    /// The value of the first field with this id.
    pub fn get(&self, known: Known) -> Option<&[u8]> {
        self.get_all(known).next()
    }

    /// [`Fields::get`] as text; `None` also when the value is not UTF-8.
    pub fn get_str(&self, known: Known) -> Option<&str> {
        self.get(known).and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The values of all fields with this id, in order.
    pub fn get_all(&self, known: Known) -> impl Iterator<Item = &[u8]> {
        self.lines(known).map(|span| self.slice(span.value, span.value_end))
    }

    /// Where the lines of all fields with this id lie, in order.
    pub(super) fn lines(&self, known: Known) -> impl Iterator<Item = &Span> {
        let live = move |span: &&Span| span.known == known && !span.dropped;
        let spans = if self.names.has(known) { self.lent.spans() } else { &[] };
        spans.iter().filter(live)
    }

    /// Whether a field with this id is present.
    pub fn has(&self, known: Known) -> bool {
        self.names.has(known) && self.lent.spans().iter().any(|span| span.known == known && !span.dropped)
    }

    /// Whether a field with one of these ids may be present; none is where it says no. One look for all of them.
    #[inline]
    pub fn may_have(&self, any: &[Known]) -> bool {
        self.names.meets(Names::of(any))
    }

    /// The value of the first field of this name, in any case.
    pub fn find(&self, name: &str) -> Option<&[u8]> {
        match Known::of(name.as_bytes()) {
            Known::Other | Known::Claim => {
                self.iter().find(|f| f.name.eq_ignore_ascii_case(name.as_bytes())).map(|field| field.value)
            }
            known => self.get(known),
        }
    }

    /// Whether a list-valued field holds this element, in any case (RFC 9110 §5.6.1).
    pub fn lists(&self, known: Known, element: &str) -> bool {
        self.get_all(known).any(|value| elements(value).any(|e| e.eq_ignore_ascii_case(element.as_bytes())))
    }

    /// Drops every field with this id; `true` when there was one.
    pub fn drop_known(&mut self, known: Known) -> bool {
        self.drop_all(Names::of(&[known]))
    }

    /// Drops every field of this name, in any case; `true` when there was one.
    pub fn drop_named(&mut self, name: &str) -> bool {
        match Known::of(name.as_bytes()) {
            Known::Other | Known::Claim => {
                self.drop_where(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
            }
            known => self.drop_known(known),
        }
    }

    /// Drops every field that `unwanted` picks; `true` when there was one.
    pub fn drop_where(&mut self, unwanted: impl Fn(Field<'_>) -> bool) -> bool {
        let mut any = false;
        for at in 0..self.noted() {
            let span = self.lent.spans()[at];
            if !span.dropped && unwanted(self.field(&span)) {
                self.drop_at(at);
                any = true;
            }
        }
        any
    }

    /// Appends a field. Bytes that could end a line or the message (CTL) become spaces, as RFC 9110 §5.5
    /// allows; a name that is no token is a mistake of ours.
    pub fn append(&mut self, name: &str, value: impl AsRef<[u8]>) {
        debug_assert!(!name.is_empty() && name.bytes().all(is_token), "{name:?} is no field name");
        let value =
            self.line(Known::of(name.as_bytes()), name, |text| text.extend_from_slice(value.as_ref()));
        let value = &mut self.lent.parts().text[value];
        // Looked through without a branch per byte, for hardly a value has anything to mend.
        if !value.iter().fold(true, |clean, b| clean & is_text(*b)) {
            value.iter_mut().filter(|b| !is_text(**b)).for_each(|b| *b = b' ');
        }
    }

    /// Appends a field whose value, made of `parts`, is our own: constants, digits, ids. It needs no mending.
    pub fn add(&mut self, known: Known, parts: &[&[u8]]) {
        debug_assert!(parts.iter().all(|part| part.iter().all(|b| is_text(*b))), "{known:?} holds a control");
        self.line(known, known.name(), |text| parts.iter().for_each(|part| text.extend_from_slice(part)));
    }

    /// [`Fields::add`] of a line that is at hand whole, with its name and its CRLF.
    #[inline]
    pub fn add_line(&mut self, known: Known, line: &[u8]) {
        let name_len = known.name().len();
        debug_assert!(line[..name_len] == *known.name().as_bytes() && line.ends_with(b"\r\n"), "{known:?}");
        let Range { start, end } = self.take_in(line);
        self.forget_length(known);
        self.note_as(known, name_len, start, start + name_len + 2..end - 2, end);
    }

    /// [`Fields::add_line`] in the place of all fields of this name.
    #[inline]
    pub fn put_line(&mut self, known: Known, line: &[u8]) {
        self.drop_known(known);
        self.add_line(known, line);
    }

    /// Puts a field in the place of all of its name; its value, our own as in [`Fields::add`], is what `write` appends.
    pub fn put(&mut self, known: Known, write: impl FnOnce(&mut Vec<u8>)) {
        self.drop_known(known);
        self.line(known, known.name(), write);
    }

    /// Appends a line of ours; returns where its value lies.
    fn line(&mut self, known: Known, name: &str, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
        let text = &mut self.lent.parts().text;
        let line = text.len();
        text.extend_from_slice(name.as_bytes());
        text.extend_from_slice(b": ");
        let start = text.len();
        write(text);
        let end = text.len();
        text.extend_from_slice(b"\r\n");
        self.forget_length(known);
        self.note_as(known, name.len(), line, start..end, end + 2);
        start..end
    }

    /// Where a line of ours says a length, none that came is passed on.
    #[inline]
    fn forget_length(&mut self, known: Known) {
        if known == Known::ContentLength {
            self.lent.parts().length = None;
        }
    }

    /// Puts one field in the place of all of its name.
    pub fn set(&mut self, name: &str, value: impl AsRef<[u8]>) {
        self.drop_named(name);
        self.append(name, value);
    }

    /// Takes off what only a sidecar may say: `x-outrigger-*`, which from anyone else is a claim.
    pub fn strip_claims(&mut self) {
        self.drop_all(Names::CLAIMS);
    }

    /// Drops what speaks to one hop only: the fields `Connection` names and those of RFC 9110 §7.6.1. The one
    /// survivor is a wish for trailers, said anew as `te: trailers`.
    ///
    /// `Host` stays even when `Connection` names it: whoever names it wants it lost on the way. Ask
    /// [`upgrade`](super::RequestHead::upgrade) and [`keep_alive`](super::RequestHead::keep_alive) first.
    #[inline]
    pub fn strip_hop_by_hop(&mut self) {
        // Most heads hold nothing of the kind.
        if self.names.meets(Names::HOP_BY_HOP) {
            self.strip_hops();
        }
    }

    #[inline(never)]
    fn strip_hops(&mut self) {
        let trailers = self.lists(Known::Te, "trailers");
        for at in 0..self.noted() {
            let span = self.lent.spans()[at];
            if span.known == Known::Connection && !span.dropped {
                self.drop_listed(&span);
            }
        }
        self.drop_all(Names::HOP_BY_HOP);
        if trailers {
            self.append("te", "trailers");
        }
    }

    /// Appends the field lines to `out`, each with its CRLF: untouched neighbours in one copy, without those
    /// the wire writes itself.
    pub fn write(&self, out: &mut Vec<u8>) {
        self.write_behind(0..0, None, out);
    }

    /// [`Fields::write`], behind a part of what was received that ends where the first field begins. A `length` is announced
    /// with it: whether a line that came says it as we would, and is among what was appended.
    pub(super) fn write_behind(&self, start: Range<u32>, length: Option<u64>, out: &mut Vec<u8>) -> bool {
        if let Some((begin, text)) = self.as_it_is(length)
            && (start.is_empty() || start.end == begin)
        {
            let begin = if start.is_empty() { begin } else { start.start };
            out.extend_from_slice(text.get(begin as usize..).unwrap_or_default());
            return self.names.has(Known::ContentLength);
        }
        self.write_in_runs(start, out);
        false
    }

    /// Where the first line begins in the text, if all of that from there on is to be sent: nothing was dropped, and nothing
    /// in it is the wire's to say but a `length` that it would say in the same words.
    #[inline]
    fn as_it_is(&self, length: Option<u64>) -> Option<(u32, &[u8])> {
        let parts = self.lent.held().filter(|parts| parts.unbroken)?;
        let says_it = length.is_some() && parts.length == length;
        let owned = self.names.meets(Names::WIRE_OWNED_BUT_LENGTH)
            || self.names.has(Known::ContentLength) && !says_it;
        let first = parts.spans.first().filter(|_| !owned)?;
        Some((first.line, &parts.text))
    }

    #[inline(never)]
    fn write_in_runs(&self, start: Range<u32>, out: &mut Vec<u8>) {
        let mut run = start;
        for span in self.lent.spans().iter().filter(|span| !span.dropped && !span.known.wire_owned()) {
            if span.line != run.end {
                out.extend_from_slice(self.slice(run.start, run.end));
                run.start = span.line;
            }
            run.end = span.end;
        }
        out.extend_from_slice(self.slice(run.start, run.end));
    }

    fn drop_all(&mut self, unwanted: Names) -> bool {
        let mut any = false;
        if self.names.meets(unwanted) {
            self.lent.parts().unbroken = false;
            for span in self.lent.spans_mut().iter_mut().filter(|span| unwanted.has(span.known)) {
                any |= !span.dropped;
                span.dropped = true;
            }
            self.names = self.names.without(unwanted);
        }
        any
    }

    fn drop_listed(&mut self, connection: &Span) {
        for at in 0..self.noted() {
            let span = self.lent.spans()[at];
            let value = self.slice(connection.value, connection.value_end);
            let name = self.field(&span).name;
            if span.known != Known::Host && elements(value).any(|e| e.eq_ignore_ascii_case(name)) {
                self.drop_at(at);
            }
        }
    }

    fn drop_at(&mut self, at: usize) {
        self.lent.parts().unbroken = false;
        self.lent.spans_mut()[at].dropped = true;
    }

    fn field(&self, span: &Span) -> Field<'_> {
        Field {
            name: self.slice(span.line, span.line + u32::from(span.name_len)),
            value: self.slice(span.value, span.value_end),
            known: span.known,
        }
    }

    pub(super) fn slice(&self, start: u32, end: u32) -> &[u8] {
        self.text().get(start as usize..end as usize).unwrap_or_default()
    }
}

/// The elements of a comma-separated list, trimmed, without the empty ones (RFC 9110 §5.6.1.2).
pub(super) fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|&b| b == b',').map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// Whether a byte may stand in a name or a method (RFC 9110 §5.6.2).
pub fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

/// Whether a byte may stand in a value (RFC 9110 §5.5).
pub fn is_text(b: u8) -> bool {
    b == b'\t' || (b >= 0x20 && b != 0x7f)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn fields(lines: &str) -> Fields {
        let mut fields = Fields::new();
        let mut at = 0;
        for line in lines.split_inclusive("\r\n") {
            let colon = line.find(':').unwrap();
            let value = line[colon + 1..].trim();
            let start = at + line.find(value).unwrap();
            fields.note(&line.as_bytes()[..colon], at, start..start + value.len(), at + line.len());
            at += line.len();
        }
        fields.receive(lines.as_bytes());
        fields
    }

    fn check(before: &str, act: impl Fn(&mut Fields), after: &str) {
        let mut fields = fields(before);
        act(&mut fields);
        let mut out = Vec::new();
        fields.write(&mut out);
        assert_eq!(std::str::from_utf8(&out).unwrap(), after, "from {before:?}");
    }

    #[test]
    fn untouched_lines_keep_case_order_and_spacing() {
        check("HoSt:a\r\nX-B:   2 \r\nx-b: 3\r\n", |_| (), "HoSt:a\r\nX-B:   2 \r\nx-b: 3\r\n");
        check("a: 1\r\nb: 2\r\nc: 3\r\n", |f| _ = f.drop_named("B"), "a: 1\r\nc: 3\r\n");
        check("a: 1\r\nb: 2\r\n", |f| f.set("A", "9"), "b: 2\r\nA: 9\r\n");
        check("a: 1\r\n", |f| f.append("b", "x\r\ny: z"), "a: 1\r\nb: x  y: z\r\n");
        check("a: 1\r\n", |f| f.append("b", "\t\0\x7f\u{e9}"), "a: 1\r\nb: \t  \u{e9}\r\n");
        check("a: 1\r\n", |f| (f.set("b", "1"), f.set("b", "2")).1, "a: 1\r\nb: 2\r\n");
    }

    #[test]
    fn hop_by_hop_fields_end_here() {
        let strip = Fields::strip_hop_by_hop;
        check("Connection: close, x-a\r\nX-A: 1\r\nX-B: 2\r\n", strip, "X-B: 2\r\n");
        check("x-a: 1\r\nconnection: X-A\r\nconnection: x-b\r\nx-b: 1\r\nk: 1\r\n", strip, "k: 1\r\n");
        check("host: a\r\nconnection: host\r\n", strip, "host: a\r\n");
        check("a: k\r\nconnection: b\r\nb: 1\r\nk: 1\r\n", strip, "a: k\r\nk: 1\r\n");
        check("te: gzip, Trailers\r\nk: 1\r\n", strip, "k: 1\r\nte: trailers\r\n");
        check("te: gzip\r\nupgrade: h2c\r\nkeep-alive: timeout=5\r\n", strip, "");
        check("proxy-authorization: x\r\nproxy-connection: close\r\n", strip, "");
        check("content-length: 5\r\ntransfer-encoding: chunked\r\na: 1\r\n", strip, "a: 1\r\n");
    }

    #[test]
    fn lookups_see_received_and_added_fields_but_no_dropped_ones() {
        let mut f = fields("Via: 1.1 a\r\nvia: 1.1 b\r\nX-Y: z\r\n");
        assert_eq!(f.get(Known::Via).unwrap(), b"1.1 a");
        assert_eq!(f.get_all(Known::Via).count(), 2);
        assert_eq!(f.find("x-y").unwrap(), b"z");
        f.append("x-request-id", "7");
        assert_eq!(f.get_str(Known::RequestId), Some("7"));
        assert_eq!(f.len(), 4);
        assert!(f.drop_known(Known::Via));
        assert!(!f.drop_known(Known::Via));
        assert_eq!((f.get(Known::Via), f.len()), (None, 2));
    }

    #[test]
    fn what_was_dropped_one_by_one_is_gone_and_whoever_drops_hears_whether_it_was_there() {
        let mut f = fields("Via: 1.1 a\r\nvia: 1.1 b\r\nX-Y: z\r\n");
        assert!(
            f.drop_where(|field| field.value == b"1.1 b") && !f.drop_where(|field| field.value == b"1.1 b")
        );
        assert!(f.has(Known::Via) && f.drop_known(Known::Via), "the first is left");
        let mut f = fields("Via: 1.1 a\r\nX-Y: z\r\n");
        assert!(f.drop_where(|field| field.known == Known::Via));
        assert!(!f.has(Known::Via) && !f.drop_known(Known::Via) && f.has(Known::Other) && !f.is_empty());
        assert!(f.drop_named("x-y") && !f.drop_named("x-y") && f.is_empty());
    }

    #[test]
    fn a_claim_is_told_from_another_and_none_of_them_passes() {
        let lines = "x-outrigger-a: 1\r\nX-Outrigger-B: 2\r\nx-outrigger-call: 3\r\nk: 4\r\n";
        assert_eq!(fields(lines).find("x-outrigger-b"), Some(&b"2"[..]));
        let others = "x-outrigger-a: 1\r\nx-outrigger-call: 3\r\nk: 4\r\n";
        check(lines, |f| _ = f.drop_named("x-outrigger-b"), others);
        check(lines, Fields::strip_claims, "k: 4\r\n");
    }

    #[test]
    fn a_line_of_ours_stands_behind_or_in_the_place_of_those_of_its_name() {
        let via = |f: &mut Fields| f.add_line(Known::Via, b"via: 1.1 b\r\n");
        check("Via: 1.1 a\r\nk: 1\r\n", via, "Via: 1.1 a\r\nk: 1\r\nvia: 1.1 b\r\n");
        let id = |f: &mut Fields| f.put_line(Known::RequestId, b"x-request-id: 7\r\n");
        check("X-Request-Id: 1\r\nk: 1\r\n", id, "k: 1\r\nx-request-id: 7\r\n");
        let put = |f: &mut Fields| f.put(Known::RequestId, |text| text.extend_from_slice(b"8"));
        check("X-Request-Id: 1\r\nk: 1\r\n", put, "k: 1\r\nx-request-id: 8\r\n");
        let mut f = Fields::new();
        f.note(b"k", 0, 3..4, 6);
        f.receive_lines(b"k: 1\r\n");
        f.receive(b"no line");
        let mut out = Vec::new();
        f.write(&mut out);
        assert_eq!(out, b"k: 1\r\n");
        id(&mut f);
        let field = Field { name: b"x-request-id", value: b"7", known: Known::RequestId };
        assert_eq!((f.get_str(Known::RequestId), f.iter().last()), (Some("7"), Some(field)));
    }
}
