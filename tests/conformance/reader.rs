//! A strict reader of HTTP/1.1, written for these tests alone and never shared with the product.
//!
//! It refuses every doubt: what the proxy under test sends must be beyond one, on both of its sides.

/// A message as far as it came.
#[derive(Clone, Debug, Default)]
pub(crate) struct Message {
    /// `METHOD TARGET`, or the status.
    pub(crate) start: String,
    /// Fields, names in lower case.
    pub(crate) fields: Vec<(String, String)>,
    /// What came of its body, or the raw bytes behind its head.
    pub(crate) body: Vec<u8>,
    /// Its end was said.
    pub(crate) whole: bool,
}

/// What stands at the beginning of some bytes.
#[derive(Debug)]
pub(crate) enum Read {
    /// A message, and how many bytes it took.
    Whole(Message, usize),
    /// A message whose end is not there yet; `None`: nor its head's.
    Part(Option<Message>),
    /// No message.
    Bad(String),
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ends {
    Length(usize),
    Chunked,
    Close,
}

/// A request at the beginning of `buf`.
pub(crate) fn request(buf: &[u8]) -> Read {
    read(buf, |line, message| {
        let words: Vec<&str> = line.split(' ').collect();
        let [method, target, "HTTP/1.1" | "HTTP/1.0"] = words[..] else { return Err(format!("{line:?}")) };
        if method.is_empty() || target.is_empty() {
            return Err(format!("{line:?}"));
        }
        message.start = format!("{method} {target}");
        if message.all("host").len() != 1 {
            return Err(format!("{line:?} has {} Host", message.all("host").len()));
        }
        Ok(message.ends()?.unwrap_or(Ends::Length(0)))
    })
}

/// The answer to `asked` at the beginning of `buf`; one without framing is whole once `ended`.
pub(crate) fn answer(buf: &[u8], asked: &str, ended: bool) -> Read {
    let read = read(buf, |line, message| {
        let rest = line.strip_prefix("HTTP/1.1 ").or(line.strip_prefix("HTTP/1.0 ")).ok_or(line)?;
        let status = rest.get(..3).filter(|digits| digits.bytes().all(|b| b.is_ascii_digit())).ok_or(line)?;
        if rest.len() > 3 && !rest[3..].starts_with(' ') {
            return Err(format!("{line:?}"));
        }
        message.start = status.into();
        let ends = message.ends()?;
        if matches!(status.as_bytes()[0], b'1') || matches!(status, "204" | "304") || asked == "HEAD" {
            return Ok(Ends::Length(0));
        }
        Ok(ends.unwrap_or(Ends::Close))
    });
    match read {
        Read::Part(Some(mut message)) if ended && message.ends() == Ok(None) => {
            message.whole = true;
            Read::Whole(message, buf.len())
        }
        read => read,
    }
}

impl Message {
    /// The values of a field.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.fields.iter().filter(|(known, _)| known == name).map(|(_, value)| value.as_str()).collect()
    }

    /// How many bytes of its text its head took cannot be known from here; what its body's framing is can.
    fn ends(&self) -> Result<Option<Ends>, String> {
        match (&self.all("content-length")[..], &self.all("transfer-encoding")[..]) {
            ([], []) => Ok(None),
            ([length], []) if !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit()) => {
                length.parse().map(|length| Some(Ends::Length(length))).map_err(|why| why.to_string())
            }
            ([], ["chunked"]) => Ok(Some(Ends::Chunked)),
            (lengths, codings) => Err(format!("framed by {lengths:?} and {codings:?}")),
        }
    }
}

fn read(buf: &[u8], judge: impl Fn(&str, &mut Message) -> Result<Ends, String>) -> Read {
    let Some(end) = find(buf, b"\r\n\r\n") else { return Read::Part(None) };
    let mut message = Message::default();
    let lines = String::from_utf8_lossy(&buf[..end]).into_owned();
    let mut lines = lines.split("\r\n");
    let first = lines.next().unwrap_or_default();
    for line in lines {
        match field(line) {
            Ok(field) => message.fields.push(field),
            Err(why) => return Read::Bad(why),
        }
    }
    let ends = match judge(first, &mut message) {
        Ok(ends) => ends,
        Err(why) => return Read::Bad(why),
    };
    let rest = &buf[end + 4..];
    let taken = match ends {
        Ends::Length(length) => {
            message.body = rest[..rest.len().min(length)].to_vec();
            (rest.len() >= length).then_some(length)
        }
        Ends::Close => {
            message.body = rest.to_vec();
            None
        }
        Ends::Chunked => match chunks(rest, &mut message.body) {
            Ok(taken) => taken,
            Err(why) => return Read::Bad(why),
        },
    };
    message.whole = taken.is_some();
    match taken {
        Some(taken) => Read::Whole(message, end + 4 + taken),
        None => Read::Part(Some(message)),
    }
}

/// How many bytes the chunks took; `None` while more are due.
fn chunks(rest: &[u8], body: &mut Vec<u8>) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = find(&rest[at..], b"\r\n") else { return Ok(None) };
        let line = String::from_utf8_lossy(&rest[at..at + end]).into_owned();
        let digits = line.split(';').next().unwrap_or_default();
        let strict =
            !digits.is_empty() && digits.len() <= 16 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let size =
            usize::from_str_radix(digits, 16).ok().filter(|_| strict).ok_or(format!("chunk {line:?}"))?;
        at += end + 2;
        if size == 0 {
            return trailers(&rest[at..]).map(|taken| taken.map(|taken| at + taken));
        }
        let here = rest.len().saturating_sub(at).min(size);
        body.extend_from_slice(&rest[at..at + here]);
        at += here;
        match rest.get(at..at + 2) {
            Some(b"\r\n") => at += 2,
            Some(other) if here == size => return Err(format!("a chunk ends with {other:?}")),
            _ => return Ok(None),
        }
    }
}

fn trailers(rest: &[u8]) -> Result<Option<usize>, String> {
    let mut at = 0;
    loop {
        let Some(end) = find(&rest[at..], b"\r\n") else { return Ok(None) };
        if end == 0 {
            return Ok(Some(at + 2));
        }
        field(&String::from_utf8_lossy(&rest[at..at + end]))?;
        at += end + 2;
    }
}

fn field(line: &str) -> Result<(String, String), String> {
    let (name, value) = line.split_once(':').ok_or_else(|| format!("{line:?} is no field"))?;
    let token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    let text = |letter: char| letter == '\t' || !letter.is_control();
    if name.is_empty() || !name.bytes().all(token) || !value.chars().all(text) {
        return Err(format!("{line:?} is no field"));
    }
    Ok((name.to_ascii_lowercase(), value.trim().to_owned()))
}

fn find(buf: &[u8], what: &[u8]) -> Option<usize> {
    buf.windows(what.len()).position(|window| window == what)
}
