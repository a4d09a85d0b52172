//! Words of the API: units, names, patterns, hosts, digests. What is taken is written so that it reads the same.

use std::fmt::{Debug, Display};
use std::str::FromStr;

use api::policy::{CallerPattern, MethodName, PathPattern};
use api::{
    Cause, Digest, Namespace, NodeName, Protocol, Rate, Reason, ServiceKey, ServiceName, Share, Size, Span,
};
use sidecar_core::names::Names;

use crate::dice::{self, Dice};

pub(super) fn run(input: &[u8], dice: &mut Dice) -> u64 {
    let text = String::from_utf8_lossy(input);
    let text = text.as_ref();
    let mut taken = vec![
        again::<Span>(text),
        again::<Size>(text),
        again::<Share>(text),
        again::<Rate>(text),
        again::<Digest>(text),
        again::<Namespace>(text),
        again::<ServiceName>(text),
        again::<NodeName>(text),
        again::<ServiceKey>(text),
        again::<Cause>(text),
        again::<Protocol>(text),
        again::<Reason>(text),
        again::<MethodName>(text),
        again::<PathPattern>(text),
        again::<CallerPattern>(text),
    ];
    if let Ok(share) = text.parse::<Share>() {
        let whole = dice.draw();
        assert!((0.0..=1.0).contains(&share.fraction()) && share.of(whole) <= whole, "{share} of {whole}");
    }
    if let Ok(span) = text.parse::<Span>() {
        assert_eq!(span.duration().as_micros(), u128::from(span.as_micros()));
    }
    if let Ok(rate) = text.parse::<Rate>() {
        assert!(rate.as_per_second() >= 0.0 && rate.interval_nanos().is_none_or(|nanos| nanos > 0), "{rate}");
    }
    let names = Names::new(Namespace::default(), ["svc.localhost".to_owned()]);
    if let Some(key) = names.service(text) {
        assert_eq!(names.service(&key.to_string()).as_ref(), Some(&key), "{text:?}");
        taken.push(true);
    }
    let bits = taken.iter().fold(1_u64, |bits, taken| bits << 1 | u64::from(*taken));
    let class = |c: char| {
        if c.is_ascii_digit() {
            '0'
        } else if c.is_alphabetic() {
            'a'
        } else {
            c
        }
    };
    let mut form: Vec<char> = text.chars().take(8).map(class).collect();
    form.dedup();
    dice::hash(format!("{bits}{form:?}").as_bytes())
}

/// Whether `text` is a `T`; then what it is written as is the same `T`.
fn again<T: FromStr + Display + Debug + PartialEq>(text: &str) -> bool {
    let Ok(value) = text.parse::<T>() else { return false };
    let written = value.to_string();
    match written.parse::<T>() {
        Ok(read) => assert_eq!(read, value, "{text:?} is written {written:?}"),
        Err(_) => panic!("{text:?} is written {written:?}, which is not read"),
    }
    true
}
