//! New inputs from old ones: flips, splices, words, and edits of lines, lengths and chunks.

use crate::dice::Dice;

/// The longest input: above every limit of a head.
const LONGEST: usize = 96 * 1024;

/// Inputs are mostly kept short: a bug that needs many bytes mostly needs a few of them, many times.
const ORDINARY: usize = 4 * 1024;

/// What numbers are changed to: around zero, around what is there, around what types hold.
const NUMBERS: [u64; 12] =
    [0, 1, 2, 9, 255, 256, 65_535, 65_536, u32::MAX as u64, 1 << 32, u64::MAX - 1, u64::MAX];

/// Changes `base` a few times; `other` lends parts.
pub fn mutate(base: &[u8], other: &[u8], words: &[&str], dice: &mut Dice) -> Vec<u8> {
    let mut bytes = base.to_vec();
    let most = 1 << dice.below(4);
    let changes = 1 + dice.below(most);
    for _ in 0..changes {
        change(&mut bytes, other, words, dice);
    }
    let longest = if dice.once_in(500) { LONGEST } else { ORDINARY };
    bytes.truncate(longest);
    bytes
}

fn change(bytes: &mut Vec<u8>, other: &[u8], words: &[&str], dice: &mut Dice) {
    let at = dice.below(bytes.len() + 1);
    match dice.below(14) {
        0 => on(bytes, at, |b, dice| b ^ 1 << dice.below(8), dice),
        1 => on(bytes, at, |_, dice| *dice.pick(b"\r\n\t \0,;:/*0afF\x0b\x7f\x80\xff"), dice),
        2 => on(bytes, at, |b, _| b ^ 0x20, dice),
        3 => insert(bytes, at, dice.pick(words).as_bytes()),
        4 => {
            let at = line(bytes, dice);
            insert(bytes, at, dice.pick(words).as_bytes());
        }
        5 => _ = bytes.drain(range(bytes.len(), dice)),
        6 => {
            let part = bytes[range(bytes.len(), dice)].to_vec();
            insert(bytes, at, &part);
        }
        7 => {
            let end = line(bytes, dice);
            bytes.truncate(end);
            let from = line(other, dice);
            bytes.extend_from_slice(&other[from..]);
        }
        8 => number(bytes, at, dice),
        9 => {
            let from = line(bytes, dice);
            let end = end_of_line(bytes, from);
            let moved: Vec<u8> = bytes.drain(from..end).collect();
            let to = line(bytes, dice);
            insert(bytes, to, &moved);
        }
        10 => bytes.truncate(at),
        11 => bytes.extend_from_slice(other),
        12 if dice.once_in(40) => {
            let part = bytes[range(bytes.len(), dice)].to_vec();
            let times = dice.below(LONGEST / (part.len() + 1)) + 1;
            let many = part.repeat(times);
            insert(bytes, at, &many);
        }
        12 => on(bytes, at, |b, dice| b.wrapping_add(*dice.pick(&[1, 255])), dice),
        _ => {
            // A line's end becomes another's.
            if let Some(found) = bytes.iter().skip(at).position(|b| *b == b'\n') {
                let end = at + found;
                let start = if end > 0 && bytes[end - 1] == b'\r' { end - 1 } else { end };
                let with = *dice.pick(&["\n", "\r", "\r\n", "\r\r\n", "", "\n\r", "\r\n "]);
                bytes.splice(start..=end, with.bytes());
            }
        }
    }
}

fn on(bytes: &mut [u8], at: usize, with: impl Fn(u8, &mut Dice) -> u8, dice: &mut Dice) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte = with(*byte, dice);
    }
}

fn insert(bytes: &mut Vec<u8>, at: usize, part: &[u8]) {
    bytes.splice(at..at, part.iter().copied());
}

fn range(len: usize, dice: &mut Dice) -> std::ops::Range<usize> {
    let start = dice.below(len + 1);
    let most = *dice.pick(&[1, 2, 8, 64, 4096]);
    start..(start + dice.below(most + 1)).min(len)
}

/// Where some line begins.
fn line(bytes: &[u8], dice: &mut Dice) -> usize {
    let from = dice.below(bytes.len() + 1);
    bytes[..from].iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1)
}

fn end_of_line(bytes: &[u8], from: usize) -> usize {
    bytes[from..].iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| from + at + 1)
}

/// Changes a number near `at`: decimal, or hexadecimal as chunks have it, or into what careless readers take for the same.
fn number(bytes: &mut Vec<u8>, at: usize, dice: &mut Dice) {
    let Some(from) = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|found| at + found) else {
        return;
    };
    let len = bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
    let old = std::str::from_utf8(&bytes[from..from + len]).ok().and_then(|text| text.parse::<u64>().ok());
    let near = old.map_or(7, |old| old.wrapping_add(*dice.pick(&[1, 2, u64::MAX, u64::MAX - 1])));
    let new = if dice.once_in(2) { near } else { *dice.pick(&NUMBERS) };
    let text = match dice.below(7) {
        0 => format!("{new:x}"),
        1 => format!("0{new}"),
        // The same number, to whoever counts in 64 bits.
        2 => ((1 << 64) + u128::from(old.unwrap_or(new))).to_string(),
        3 => format!("1{:016x}", old.unwrap_or(new)),
        4 => format!("+{}", old.unwrap_or(new)),
        _ => new.to_string(),
    };
    bytes.splice(from..from + len, text.bytes());
}
