//! Words we were given are wrong: where, what, and what to do about it.
//!
//! One form for a file, a request body and a flag. All problems of one text are reported together; a
//! reader who mends one at a time loses a minute for each.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A place in a text; both count from one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Place {
    /// The line.
    pub line: usize,
    /// The column, in characters.
    pub column: usize,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where in the document, as `routes[0].retry.budget`; empty for the document itself.
    pub path: String,
    /// What is wrong, lower case, no full stop.
    pub what: String,
    /// What to do; empty when `what` says it all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub hint: String,
    /// Where in the text, when there is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
}

impl Problem {
    /// A problem at `path`.
    pub fn at(path: impl Into<String>, what: impl Into<String>) -> Self {
        Self { path: path.into(), what: what.into(), hint: String::new(), place: None }
    }

    /// The same problem with a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: hint.into(), ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if !self.hint.is_empty() {
            write!(f, " ({})", self.hint)?;
        }
        Ok(())
    }
}

/// The known word nearest to `word`, when it is near enough to be a slip of the finger.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known.into_iter().map(|k| (strsim::damerau_levenshtein(word, k), k));
    let (distance, best) = scored.min()?;
    (distance <= 1 + word.len() / 4).then_some(best)
}

/// Prints `problems` of the text `source` called `name` the way a compiler would:
///
/// ```text
/// error: unknown key "timout" (did you mean "timeout"?)
///   --> lb.yaml:4:5 (services.checkout.timout)
///    |
///  4 |     timout: 5s
///    |     ^^^^^^
/// ```
pub fn render(name: &str, source: &str, problems: &[Problem]) -> String {
    let mut text = String::new();
    for problem in problems {
        text.push_str(&render_one(name, source, problem));
    }
    let noun = if problems.len() == 1 { "problem" } else { "problems" };
    text.push_str(&format!("{name}: {} {noun}; nothing was started or changed\n", problems.len()));
    text
}

fn render_one(name: &str, source: &str, problem: &Problem) -> String {
    let hint = if problem.hint.is_empty() { String::new() } else { format!(" ({})", problem.hint) };
    let mut text = format!("error: {}{hint}\n", problem.what);
    let path = if problem.path.is_empty() { String::new() } else { format!(" ({})", problem.path) };
    let Some(Place { line, column }) = problem.place else {
        text.push_str(&format!("  --> {name}{path}\n"));
        return text;
    };
    text.push_str(&format!("  --> {name}:{line}:{column}{path}\n"));
    if let Some(shown) = source.lines().nth(line - 1) {
        let gutter = " ".repeat(line.to_string().len());
        let rest = shown.chars().skip(column - 1);
        let caret = rest.take_while(|c| !c.is_whitespace() && *c != ':').count().max(1);
        let carets = "^".repeat(caret);
        let indent = " ".repeat(column - 1);
        text.push_str(&format!("{gutter}  |\n{line}  | {shown}\n{gutter}  | {indent}{carets}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn the_nearest_word_is_offered_only_when_it_is_near() {
        assert_eq!(nearest("timout", ["timeout", "retry"]), Some("timeout"));
        assert_eq!(nearest("banana", ["timeout", "retry"]), None);
    }

    #[test]
    fn a_problem_points_at_its_word() {
        let problem = Problem {
            place: Some(Place { line: 2, column: 3 }),
            ..Problem::at("a.timout", "unknown key \"timout\"").hint("did you mean \"timeout\"?")
        };
        let shown = render("x.yaml", "a:\n  timout: 5s\n", &[problem]);
        let wanted = "error: unknown key \"timout\" (did you mean \"timeout\"?)\n  --> x.yaml:2:3 (a.timout)\n   \
                      |\n2  |   timout: 5s\n   |   ^^^^^^\nx.yaml: 1 problem; nothing was started or changed\n";
        assert_eq!(shown, wanted);
    }
}
