//! What a reader took bytes for, in a form in which two readers can be compared.

use crate::dice;
use crate::reader::{Framing, Line};

/// One message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// `METHOD target authority`, or a status.
    pub start: Vec<u8>,
    /// The fields in order.
    pub fields: Vec<Line>,
    /// How the body's end is known.
    pub framing: Framing,
    /// The body, as far as it came.
    pub body: Vec<u8>,
    /// The fields behind it.
    pub trailers: Vec<Line>,
    /// Whether its end was said.
    pub whole: bool,
    /// Whether another message may follow.
    pub keeps: bool,
}

/// Why no further message follows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// More bytes are needed.
    #[default]
    More,
    /// All is said.
    Over,
    /// The peer closed in the midst of a message.
    Cut,
    /// A rule is broken; which one.
    Refused(String),
    /// What follows is no HTTP.
    Tunnel,
}

/// All that stood on one connection.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The messages whose heads were taken.
    pub messages: Vec<Message>,
    /// What came behind them.
    pub end: End,
    /// Bytes behind the last whole message.
    pub rest: usize,
}

impl Told {
    /// What kind of story it is: inputs that are taken for something new are worth changing further.
    pub fn shape(&self) -> u64 {
        let mut text = Vec::new();
        for message in self.messages.iter().take(3) {
            let size = message.body.len().min(1).to_string();
            let framing = match message.framing {
                Framing::Length(_) => "length".to_owned(),
                other => format!("{other:?}"),
            };
            text.extend_from_slice(word(&message.start).as_bytes());
            text.extend_from_slice(framing.as_bytes());
            text.extend_from_slice(size.as_bytes());
            text.push(message.fields.len().min(5) as u8);
            text.push(message.trailers.len().min(3) as u8);
            text.push(u8::from(message.whole) + 2 * u8::from(message.keeps));
        }
        text.extend_from_slice(format!("{:?}{}", self.end, self.rest.min(1)).as_bytes());
        dice::hash(&text)
    }
}

/// Holds what the codec took bytes for against what the second reader did. What the codec accepts the reader
/// accepts and takes for the same; `stricter` are the rules by which the codec may refuse what is well-formed.
///
/// # Panics
/// When they differ.
pub fn compare(ours: &Told, theirs: &Told, stricter: &[&str]) {
    for (at, message) in ours.messages.iter().enumerate() {
        let Some(other) = theirs.messages.get(at) else {
            panic!("message {at} is accepted, the second reader says {:?}\n{message:?}", theirs.end);
        };
        if message.whole {
            assert_eq!(message, other, "message {at} means two things");
        } else {
            let (head, other_head) = (message.head(), other.head());
            assert_eq!(head, other_head, "the head of message {at} means two things");
            // The bytes of a chunk that turns out too long may be handed on before that shows.
            let both = message.body.len().min(other.body.len());
            assert_eq!(message.body[..both], other.body[..both], "the body of message {at} means two things");
        }
    }
    let more = theirs.messages.len() > ours.messages.len()
        || theirs.messages.iter().zip(&ours.messages).any(|(theirs, ours)| theirs.whole && !ours.whole);
    match (&ours.end, &theirs.end) {
        (End::Refused(rule), _) if stricter.contains(&rule.as_str()) => {}
        (End::Refused(_), End::Refused(_) | End::More | End::Cut) if !more => {}
        (End::More, End::More | End::Refused(_)) | (End::Cut, End::Cut | End::Refused(_)) if !more => {}
        (ours, theirs) => {
            assert!(ours == theirs && !more, "the end is {ours:?}; to the second reader {theirs:?}")
        }
    }
}

/// The method or status, where it matters to where a message ends.
fn word(start: &[u8]) -> &str {
    let word = start.split(|b| *b == b' ').next().unwrap_or_default();
    match std::str::from_utf8(word).unwrap_or_default() {
        word @ ("GET" | "HEAD" | "POST" | "CONNECT" | "OPTIONS" | "TRACE") => word,
        word @ ("100" | "101" | "200" | "204" | "304") => word,
        word if word.len() == 3 => &word[..1],
        _ => "other",
    }
}

impl Message {
    fn head(&self) -> (&[u8], &[Line], Framing, bool) {
        (&self.start, &self.fields, self.framing, self.keeps)
    }
}
