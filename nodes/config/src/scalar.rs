//! What a scalar's text means: YAML 1.1's booleans and integers, Go's durations, words from a list.
//!
//! Each reader takes the text as written, quoted or not: variables arrive unquoted, compose files often quote.

use std::time::Duration;

use crate::suggest;

/// Why a text is not of the kind wanted; the text itself is added where it may be shown.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unfit {
    pub(crate) reason: String,
    pub(crate) suggestion: Option<String>,
    /// The text holds something secret beside what is wrong.
    pub(crate) hidden: bool,
}

impl Unfit {
    pub(crate) fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            suggestion: None,
            hidden: false,
        }
    }

    pub(crate) fn suggest(mut self, suggestion: Option<String>) -> Self {
        self.suggestion = suggestion;
        self
    }

    /// The text is not repeated in the message.
    pub(crate) fn hide(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// A boolean as YAML 1.1 has it: `yes`, `on` and `y` are true, which YAML 1.2 takes for strings.
pub(crate) fn boolean(text: &str) -> Result<bool, Unfit> {
    match text {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "true" | "True" | "TRUE" => {
            Ok(true)
        }
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "false" | "False" | "FALSE" => {
            Ok(false)
        }
        _ => Err(Unfit::new("is not a boolean; write true or false")),
    }
}

/// A boolean as the drivers' parameters have it: YAML 1.1's, and what Go parses from a string.
pub(crate) fn loose_boolean(text: &str) -> Result<bool, Unfit> {
    match text {
        "1" | "t" | "T" => Ok(true),
        "0" | "f" | "F" => Ok(false),
        _ => boolean(text),
    }
}

/// An integer: decimal, `0x`, `0b`, or octal by `0o` or a leading zero; underscores are ignored.
pub(crate) fn integer(text: &str) -> Result<i64, Unfit> {
    let unfit = || Unfit::new("is not a whole number");
    let digits = text.replace('_', "");
    let (negative, digits) = match digits.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let (radix, digits) = radix(digits);
    if !digits.starts_with(|c: char| c.is_digit(radix)) {
        return Err(unfit());
    }
    let magnitude = i128::from_str_radix(digits, radix).map_err(|_not_digits| unfit())?;
    let value = if negative { -magnitude } else { magnitude };
    i64::try_from(value).map_err(|_too_large| Unfit::new("is too large a number"))
}

fn radix(digits: &str) -> (u32, &str) {
    let prefixes = [
        ("0x", 16),
        ("0X", 16),
        ("0o", 8),
        ("0O", 8),
        ("0b", 2),
        ("0B", 2),
    ];
    for (prefix, radix) in prefixes {
        if let Some(rest) = digits.strip_prefix(prefix) {
            return (radix, rest);
        }
    }
    match digits.strip_prefix('0') {
        Some(rest) if !rest.is_empty() => (8, rest),
        _ => (10, digits),
    }
}

/// An integer that fits `T`, which is never negative.
pub(crate) fn count<T: TryFrom<i64>>(text: &str) -> Result<T, Unfit> {
    let value = integer(text)?;
    if value < 0 {
        return Err(Unfit::new("must not be negative"));
    }
    T::try_from(value).map_err(|_too_large| Unfit::new("is too large a number"))
}

/// An integer within bounds, both included.
pub(crate) fn within(text: &str, least: u64, most: u64) -> Result<u64, Unfit> {
    let value = count(text)?;
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Unfit::new(format!("must be from {least} to {most}")))
    }
}

/// A duration that is not negative: `1h30m`, `500ms`; a bare number counts nanoseconds.
pub(crate) fn duration(text: &str) -> Result<Duration, Unfit> {
    let nanoseconds = nanoseconds(text)?;
    let positive = u64::try_from(nanoseconds);
    let positive = positive.map_err(|_negative| Unfit::new("must not be negative"))?;
    Ok(Duration::from_nanos(positive))
}

/// A duration longer than nothing.
pub(crate) fn positive_duration(text: &str) -> Result<Duration, Unfit> {
    let duration = duration(text)?;
    if duration.is_zero() {
        return Err(Unfit::new("must be longer than zero"));
    }
    Ok(duration)
}

/// Go's `time.ParseDuration`, and the bare integer that a Go duration is underneath.
pub(crate) fn nanoseconds(text: &str) -> Result<i64, Unfit> {
    if let Ok(bare) = integer(text) {
        return Ok(bare);
    }
    let unfit = || Unfit::new("is not a duration; write for example 90s, 10m or 1h30m");
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.is_empty() {
        return Err(unfit());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let (part, after) = duration_part(rest).ok_or_else(unfit)?;
        total = total.saturating_add(part);
        rest = after;
    }
    i64::try_from(sign * total)
        .map_err(|_too_long| Unfit::new("is too long; the limit is 292 years"))
}

/// One number with its unit, as nanoseconds, and the text after it.
fn duration_part(text: &str) -> Option<(i128, &str)> {
    let not_digit = |c: char| !c.is_ascii_digit();
    let (whole, rest) = text.split_at(text.find(not_digit).unwrap_or(text.len()));
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(not_digit).unwrap_or(rest.len())),
        None => ("", rest),
    };
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let number_starts = |c: char| c.is_ascii_digit() || c == '.';
    let (unit, rest) = rest.split_at(rest.find(number_starts).unwrap_or(rest.len()));
    let unit = unit_nanoseconds(unit)?;
    let whole: i128 = whole.bytes().fold(0, push_digit);
    // Digits below a nanosecond are dropped: eighteen of them are finer than a nanosecond of an hour.
    let kept = fraction.bytes().take(18);
    let scale = kept.clone().fold(1_i128, |scale, _| scale * 10);
    let fraction = kept.fold(0, push_digit);
    let nanoseconds = whole.saturating_mul(unit) + fraction * unit / scale;
    Some((nanoseconds.min(i128::from(i64::MAX) + 1), rest))
}

/// Stays far inside `i128`, so that multiplying by a unit cannot overflow it.
fn push_digit(number: i128, digit: u8) -> i128 {
    let limit = i128::from(u64::MAX);
    (number * 10 + i128::from(digit - b'0')).min(limit)
}

fn unit_nanoseconds(unit: &str) -> Option<i128> {
    Some(match unit {
        "ns" => 1,
        // Both signs for micro: the micro sign and the Greek letter.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

/// One of a few words, in any case.
pub(crate) fn one_of<T: Copy>(text: &str, words: &[(&'static str, T)]) -> Result<T, Unfit> {
    let found = words
        .iter()
        .find(|(word, _)| word.eq_ignore_ascii_case(text));
    if let Some((_, value)) = found {
        return Ok(*value);
    }
    let names: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
    let unfit = Unfit::new(format!("is not one of {}", names.join(", ")));
    Err(unfit.suggest(suggest::nearest(text, names).map(str::to_owned)))
}

#[cfg(test)]
mod tests;
