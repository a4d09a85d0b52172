//! A head or trailer section that is not whole yet: where it ends, and that what came of it may stand in one.

/// How far an unfinished head has been looked at, so that bytes that trickle in are each read once.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    scanned: usize,
    tried: bool,
}

/// Whether a parse can succeed: the first time always, since heads mostly arrive whole; then only when the
/// blank line is there, so that a trickling client pays for its own bytes once.
pub(super) fn worth_parsing(buf: &[u8], seen: &mut Seen) -> Result<bool, &'static str> {
    if buf.is_empty() {
        return Ok(false);
    }
    if !std::mem::replace(&mut seen.tried, true) {
        return Ok(true);
    }
    blank_line(buf, seen).map(|end| end.is_some())
}

/// One past the first blank line. Bytes that no head may hold are refused as soon as they are seen.
pub(super) fn blank_line(buf: &[u8], seen: &mut Seen) -> Result<Option<usize>, &'static str> {
    for at in seen.scanned..buf.len() {
        let before = at.checked_sub(1).map(|before| buf[before]);
        match buf[at] {
            b'\n' if before != Some(b'\r') => return Err("a line ends with a bare LF"),
            b'\n' if buf[..=at].ends_with(b"\r\n\r\n") => {
                // Stays here, so that asking again finds the same end.
                seen.scanned = at;
                return Ok(Some(at + 1));
            }
            b'\n' => {}
            _ if before == Some(b'\r') => return Err("a CR without its LF"),
            b'\r' | b'\t' | b' '..=b'~' | 0x80.. => {}
            _ => return Err("a control character"),
        }
    }
    seen.scanned = buf.len();
    Ok(None)
}
