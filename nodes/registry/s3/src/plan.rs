//! How several sources become the parts of one object.

use std::ops::Range;

/// What S3 takes of one object.
pub(crate) const MOST_PARTS: u64 = 10_000;

/// What S3 takes for a part, the last of an object apart.
pub(crate) const LEAST_PART: u64 = 5 << 20;

/// Bytes of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    pub(crate) source: usize,
    pub(crate) range: Range<u64>,
}

/// What a part is made of, in order. One span is copied by the store; several are joined here.
pub(crate) type Part = Vec<Span>;

/// Parts of equal size, the last apart: some stores refuse others. Larger than asked for where they would be too many.
pub(crate) fn plan(lengths: &[u64], size: u64) -> Vec<Part> {
    let total: u64 = lengths.iter().sum();
    let size = size.max(total.div_ceil(MOST_PARTS)).max(1);
    let mut parts: Vec<Part> = Vec::new();
    let mut room = 0;
    for (source, &length) in lengths.iter().enumerate() {
        let mut at = 0;
        while at < length {
            if room == 0 {
                parts.push(Vec::new());
                room = size;
            }
            let end = length.min(at + room);
            if let Some(part) = parts.last_mut() {
                part.push(Span {
                    source,
                    range: at..end,
                });
            }
            room -= end - at;
            at = end;
        }
    }
    parts
}

/// Bytes of a part, so that the store copies all of them: where sources are equally long, as those that a gateway's chunks
/// became, parts end where they do. `most` is for a part that is copied, `size` for one that may have to be joined here.
pub(crate) fn part_size(lengths: &[u64], most: u64, size: u64) -> u64 {
    let Some((&length, others)) = lengths.split_first() else {
        return size;
    };
    let Some((_last, others)) = others.split_last() else {
        return most;
    };
    if others.iter().any(|other| *other != length) {
        return size;
    }
    (length.div_ceil(most).max(1)..=length / LEAST_PART)
        .find(|parts| length % parts == 0)
        .map_or(size, |parts| length / parts)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_part_across_two_sources_is_joined() {
        let span = |source, range| Span { source, range };
        assert_eq!(
            plan(&[10, 0, 25], 10),
            [
                vec![span(0, 0..10)],
                vec![span(2, 0..10)],
                vec![span(2, 10..20)],
                vec![span(2, 20..25)],
            ]
        );
        assert_eq!(
            plan(&[4, 9], 10),
            [vec![span(0, 0..4), span(1, 0..6)], vec![span(1, 6..9)]]
        );
        assert_eq!(plan(&[0, 0], 10), Vec::<Part>::new());
    }

    #[test]
    fn parts_end_where_equal_sources_do() {
        const MIB: u64 = 1 << 20;
        let of = |lengths: &[u64]| {
            let lengths: Vec<u64> = lengths.iter().map(|length| length * MIB).collect();
            part_size(&lengths, 32 * MIB, 10 * MIB) / MIB
        };
        assert_eq!(of(&[100]), 32, "as the store copies");
        assert_eq!(of(&[32, 32, 32, 7]), 32);
        assert_eq!(
            of(&[7, 90]),
            7,
            "the last is cut where the others would end"
        );
        assert_eq!(of(&[96, 96, 1]), 32);
        assert_eq!(of(&[34, 34]), 17);
        assert_eq!(of(&[3, 3, 3]), 10, "too small for a part");
        assert_eq!(of(&[32, 17, 32]), 10);
        assert_eq!(of(&[]), 10);
        let odd = 37 * MIB + 1;
        assert_eq!(part_size(&[odd, odd], 32 * MIB, 10 * MIB), 10 * MIB);
    }

    proptest! {
        #[test]
        fn parts_are_the_concatenation(lengths in prop::collection::vec(0_u64..50, 0..8), size in 1_u64..40) {
            let parts = plan(&lengths, size);
            let bytes = |part: &Part| part.iter().map(|span| span.range.end - span.range.start).sum::<u64>();
            if let Some((last, others)) = parts.split_last() {
                prop_assert!(others.iter().all(|part| bytes(part) == size));
                prop_assert!((1..=size).contains(&bytes(last)));
            }
            let flat: Vec<(usize, u64)> = parts.iter().flatten()
                .flat_map(|span| span.range.clone().map(|at| (span.source, at))).collect();
            let expected: Vec<(usize, u64)> = lengths.iter().enumerate()
                .flat_map(|(source, length)| (0..*length).map(move |at| (source, at))).collect();
            prop_assert_eq!(flat, expected);
        }

        #[test]
        fn there_are_never_too_many(length in 0_u64..1 << 42) {
            prop_assert!(plan(&[length], 5 << 20).len() as u64 <= MOST_PARTS);
        }
    }
}
