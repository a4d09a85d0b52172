//! What one side does: bytes, and words in braces between them.
//!
//! `↵` stands for CRLF, `\r \n \t \0 \\ \xHH` for bytes, `{N*text}` for N times the text. The words: `{pause}` lets the
//! other side read what came so far; `{await}` waits for one more final answer, `{interim}` for an interim one;
//! `{fin}` ends the sending half, `{reset}` and `{close}` the connection; `{early}` at the beginning of an answer does
//! not wait for the request's body, `{body}` waits for it in the midst of one.

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Writes these.
    Bytes(Vec<u8>),
    /// Lets some milliseconds pass.
    Pause,
    /// Waits for a final answer.
    Await,
    /// Waits for an interim answer.
    Interim,
    /// Ends the sending half.
    Fin,
    /// Ends the connection without its closing handshake.
    Reset,
    /// Ends the connection.
    Close,
    /// Does not wait for the request's end.
    Early,
    /// Waits for the request's end.
    Body,
}

/// Reads a script.
pub(crate) fn parse(text: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        push(&mut steps, bytes(&rest[..open]));
        let close = open + rest[open..].find('}').unwrap_or_else(|| panic!("{text:?} has an open brace"));
        let word = &rest[open + 1..close];
        rest = &rest[close + 1..];
        match word {
            "pause" => steps.push(Step::Pause),
            "await" => steps.push(Step::Await),
            "interim" => steps.push(Step::Interim),
            "fin" => steps.push(Step::Fin),
            "reset" => steps.push(Step::Reset),
            "close" => steps.push(Step::Close),
            "early" => steps.push(Step::Early),
            "body" => steps.push(Step::Body),
            _ => {
                let (count, text) = word.split_once('*').unwrap_or_else(|| panic!("{{{word}}} in {text:?}"));
                push(&mut steps, bytes(text).repeat(count.parse().unwrap()));
            }
        }
    }
    push(&mut steps, bytes(rest));
    steps
}

fn push(steps: &mut Vec<Step>, bytes: Vec<u8>) {
    match steps.last_mut() {
        _ if bytes.is_empty() => {}
        Some(Step::Bytes(before)) => before.extend(bytes),
        _ => steps.push(Step::Bytes(bytes)),
    }
}

/// The bytes that `text` stands for.
pub(crate) fn bytes(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next() {
        match letter {
            '↵' => out.extend(b"\r\n"),
            '\\' => match letters.next() {
                Some('r') => out.push(b'\r'),
                Some('n') => out.push(b'\n'),
                Some('t') => out.push(b'\t'),
                Some('0') => out.push(0),
                Some('\\') => out.push(b'\\'),
                Some('x') => {
                    let hex: String = letters.by_ref().take(2).collect();
                    out.push(u8::from_str_radix(&hex, 16).unwrap());
                }
                other => panic!("\\{other:?} in {text:?}"),
            },
            other => out.extend(other.to_string().as_bytes()),
        }
    }
    out
}
