//! What a sidecar's `/metrics` says, read back: Prometheus' text format 0.0.4, as far as we write it.

use std::collections::BTreeMap;

/// One scrape.
#[derive(Debug, Default)]
pub(crate) struct Scrape(Vec<Sample>);

#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Scrape {
    /// Reads `text`; what is no sample is left out.
    pub(crate) fn read(text: &str) -> Self {
        Self(text.lines().filter(|line| !line.starts_with('#')).filter_map(sample).collect())
    }

    /// The values of `name` whose labels have all of `with`, each with its labels.
    pub(crate) fn each<'s>(
        &'s self,
        name: &'s str,
        with: &'s [(&'s str, &'s str)],
    ) -> impl Iterator<Item = (&'s BTreeMap<String, String>, f64)> {
        let has = |sample: &&Sample| {
            with.iter().all(|(label, value)| sample.labels.get(*label).is_some_and(|own| own == value))
        };
        self.0.iter().filter(move |sample| sample.name == name).filter(has).map(|s| (&s.labels, s.value))
    }

    /// Their sum.
    pub(crate) fn sum(&self, name: &str, with: &[(&str, &str)]) -> f64 {
        // A sum of no floats is minus zero.
        self.each(name, with).fold(0.0, |sum, (_, value)| sum + value)
    }
}

/// `name{label="value",...} number`.
fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some(Sample { name: series.to_owned(), labels: BTreeMap::new(), value });
    };
    let mut rest = labels.strip_suffix('}')?;
    let mut labels = BTreeMap::new();
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"")?;
        let (value, after) = unquoted(quoted)?;
        labels.insert(label.to_owned(), value);
        rest = after.strip_prefix(',').unwrap_or(after);
    }
    Some(Sample { name: name.to_owned(), labels, value })
}

/// A label's value up to its closing quote, and what follows that.
fn unquoted(text: &str) -> Option<(String, &str)> {
    let (mut value, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((value, &text[at + 1..])),
            '\\' => value.push(match chars.next()?.1 {
                'n' => '\n',
                other => other,
            }),
            other => value.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_found_by_name_and_label() {
        let scrape = Scrape::read(
            "# HELP up Whether.\nup 1\ngot{service=\"a\",code=\"2xx\"} 3\ngot{service=\"a\",code=\"5xx\"} 4\n\
             got{service=\"b\",code=\"2xx\"} 5\nodd{what=\"a \\\"b\\\", c\\\\\\n\"} 2.5\nno sample\n",
        );
        assert_eq!(scrape.sum("up", &[]), 1.0);
        assert_eq!(scrape.sum("got", &[("service", "a")]), 7.0);
        assert_eq!(scrape.sum("got", &[("service", "a"), ("code", "5xx")]), 4.0);
        assert_eq!(scrape.sum("odd", &[("what", "a \"b\", c\\\n")]), 2.5);
        assert_eq!(scrape.sum("gone", &[]), 0.0);
    }
}
