//! Byte ranges: `Content-Range` of an upload's chunk, and `Range` of a download (RFC 9110, section 14).

use std::ops::Range;
use std::str::FromStr;

/// What a chunk says it holds: `<first>-<last>`, both inclusive, without a unit (OCI distribution specification,
/// "Pushing a blob in chunks").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentRange {
    pub first: u64,
    pub last: u64,
}

/// A range that is not written as one, or that ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a chunk's Content-Range is written <first byte>-<last byte>")]
pub struct RangeError;

impl ContentRange {
    /// Bytes in the chunk, at least one.
    pub fn length(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }
}

impl FromStr for ContentRange {
    type Err = RangeError;

    /// `bytes 0-9/*` and `bytes=0-9`, which some clients send, are understood as well.
    fn from_str(text: &str) -> Result<Self, RangeError> {
        let bare = text
            .strip_prefix("bytes")
            .map_or(text, |rest| rest.trim_start_matches([' ', '=']));
        let bare = bare.split_once('/').map_or(bare, |(range, _total)| range);
        let (first, last) = bare.split_once('-').ok_or(RangeError)?;
        let range = Self {
            first: number(first).ok_or(RangeError)?,
            last: number(last).ok_or(RangeError)?,
        };
        if range.first <= range.last {
            Ok(range)
        } else {
            Err(RangeError)
        }
    }
}

/// Digits only: `u64::from_str` would take a plus sign.
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// What a `Range` header means for content of a known length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    /// No range, a unit other than bytes, or several ranges: the whole content is the answer.
    Whole,
    /// One satisfiable range, never empty.
    Part(Range<u64>),
    /// Answered with 416.
    Unsatisfiable,
}

impl ByteRange {
    /// Reads a `Range` header for content of `length` bytes. Several ranges in one request are served whole, as a server
    /// may (RFC 9110, section 14.2); one that is not written right is refused, as the reference does.
    pub fn parse(header: &str, length: u64) -> Self {
        let Some(set) = header.trim().strip_prefix("bytes=") else {
            return Self::Whole;
        };
        if set.contains(',') {
            return Self::Whole;
        }
        let range = set.trim().split_once('-').and_then(|(first, last)| {
            match (number(first), number(last)) {
                (Some(first), Some(last)) if first <= last => {
                    Some(first..last.saturating_add(1).min(length))
                }
                (Some(first), None) if last.is_empty() => Some(first..length),
                (None, Some(suffix)) if first.is_empty() => {
                    Some(length.saturating_sub(suffix)..length)
                }
                _malformed => None,
            }
        });
        range
            .filter(|range| !range.is_empty())
            .map_or(Self::Unsatisfiable, Self::Part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_ranges() {
        assert_eq!("0-9".parse(), Ok(ContentRange { first: 0, last: 9 }));
        assert_eq!(
            "bytes 5-5/*".parse(),
            Ok(ContentRange { first: 5, last: 5 })
        );
        assert_eq!("3-7".parse::<ContentRange>().unwrap().length(), 5);
        for wrong in [
            "",
            "-",
            "0-",
            "-9",
            "9-0",
            "a-b",
            "0-9-",
            "+0-9",
            "0--9",
            "0-99999999999999999999",
            " 0-9",
            "0 - 9",
        ] {
            assert_eq!(wrong.parse::<ContentRange>(), Err(RangeError), "{wrong}");
        }
    }

    #[test]
    fn download_ranges() {
        let cases = [
            ("bytes=0-0", ByteRange::Part(0..1)),
            ("bytes=2-", ByteRange::Part(2..10)),
            ("bytes=-3", ByteRange::Part(7..10)),
            ("bytes=-30", ByteRange::Part(0..10)),
            ("bytes=5-99", ByteRange::Part(5..10)),
            ("bytes=10-", ByteRange::Unsatisfiable),
            ("bytes=-0", ByteRange::Unsatisfiable),
            ("bytes=0-1,3-4", ByteRange::Whole),
            ("bytes=5-2", ByteRange::Unsatisfiable),
            ("bytes=x-y", ByteRange::Unsatisfiable),
            ("bytes=-", ByteRange::Unsatisfiable),
            ("chapters=1-2", ByteRange::Whole),
            ("bytes=99999999999999999999-", ByteRange::Unsatisfiable),
        ];
        for (header, expected) in cases {
            assert_eq!(ByteRange::parse(header, 10), expected, "{header}");
        }
        assert_eq!(ByteRange::parse("bytes=0-", 0), ByteRange::Unsatisfiable);
    }
}
