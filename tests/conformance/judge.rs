//! Whether what was seen and told is one of the outcomes that a case allows.

use crate::backend::Seen;
use crate::case::{Body, Case, Field, Outcome, See, Then, Wanted};
use crate::client::{Stood, Told};
use crate::reader::Message;

/// `Err` says what is otherwise, for the first outcome.
pub(crate) fn judge(case: &Case, seen: &Seen, told: &Told) -> Result<(), String> {
    if let Some(garbage) = seen.garbage.first() {
        return Err(format!("the backend got garbage: {garbage}"));
    }
    if let Some(garbage) = &told.garbage {
        return Err(format!("the client got garbage: {garbage}"));
    }
    let mut misses = case.outcomes.iter().map(|outcome| fits(outcome, seen, told));
    if misses.clone().any(|miss| miss.is_ok()) {
        return Ok(());
    }
    let first = misses.next().unwrap().unwrap_err();
    let names = |messages: &[Message]| messages.iter().map(brief).collect::<Vec<_>>().join("; ");
    let (seen, got) = (names(&seen.requests), names(&told.answers));
    Err(format!("{first}\n    seen: {seen}\n    got: {got}, then {:?}", told.stood))
}

fn brief(message: &Message) -> String {
    let end = if message.whole { "" } else { " cut" };
    let body: String = String::from_utf8_lossy(&message.body).chars().take(60).collect();
    format!("{} {body:?}{end}", message.start)
}

fn fits(outcome: &Outcome, seen: &Seen, told: &Told) -> Result<(), String> {
    match &outcome.see {
        See::Any => {}
        See::Nothing if seen.requests.is_empty() => {}
        See::Nothing => return Err("the backend saw something".into()),
        See::Cut if seen.requests.iter().all(|request| !request.whole) => {}
        See::Cut => return Err("the backend saw a whole request".into()),
        See::These(these) => all("the backend", these, &seen.requests)?,
    }
    all("the client", &outcome.get, &told.answers)?;
    let stands = match outcome.then {
        Then::Any => told.stood != Stood::Broken,
        Then::Kept => told.stood == Stood::Works,
        Then::Closed => matches!(told.stood, Stood::Closed | Stood::Reset),
    };
    if stands { Ok(()) } else { Err(format!("wanted the connection {:?}", outcome.then)) }
}

fn all(who: &str, wanted: &[Wanted], messages: &[Message]) -> Result<(), String> {
    let mut messages = messages.iter().peekable();
    for wanted in wanted {
        match messages.next_if(|message| starts(wanted, message)) {
            Some(message) => one(wanted, message).map_err(|miss| format!("{who}: {miss}"))?,
            None if wanted.optional => {}
            None => return Err(format!("{who} wanted {}", wanted.start)),
        }
    }
    messages.next().map_or(Ok(()), |more| Err(format!("{who} had more: {}", brief(more))))
}

fn starts(wanted: &Wanted, message: &Message) -> bool {
    wanted.start.split('|').any(|start| match start.strip_suffix("xx") {
        Some(class) => message.start.len() == 3 && message.start.starts_with(class),
        None => message.start == start,
    })
}

fn one(wanted: &Wanted, message: &Message) -> Result<(), String> {
    let fits = match &wanted.body {
        Body::Whole => message.whole,
        Body::Is(body) => message.whole && message.body == *body,
        Body::Cut => !message.whole,
        Body::Raw(bytes) => message.body == *bytes,
    };
    if !fits {
        let body: String = format!("{:?}", wanted.body).chars().take(80).collect();
        return Err(format!("{} wanted {body}", wanted.start));
    }
    for field in &wanted.fields {
        let holds = match field {
            Field::With(name) => !message.all(name).is_empty(),
            Field::Only(name, value) => message.all(name) == [value.as_str()],
            Field::Without(name) => message.all(name).is_empty(),
        };
        if !holds {
            return Err(format!("{} wanted {field:?}, has {:?}", wanted.start, message.fields));
        }
    }
    Ok(())
}
