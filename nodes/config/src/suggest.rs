//! "Did you mean": the known name nearest to a mistyped one.

/// Two slips of the keyboard; more would suggest names that merely look alike.
const MAX_DISTANCE: usize = 2;
/// Nobody types a key this long by mistake, and the comparison costs the product of both lengths.
const MAX_CHARS: usize = 64;
/// Shorter beginnings are shared by chance.
const MIN_PREFIX_CHARS: usize = 3;

/// The candidate nearest to `given`: the same but for case, or two edits away at most, or one the beginning of the
/// other.
pub(crate) fn nearest<'a>(
    given: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let given: Vec<char> = given.to_lowercase().chars().take(MAX_CHARS + 1).collect();
    if given.len() > MAX_CHARS {
        return None;
    }
    candidates
        .into_iter()
        .filter_map(|candidate| Some((badness(&given, candidate)?, candidate)))
        .min_by_key(|(badness, _)| *badness)
        .map(|(_, candidate)| candidate)
}

fn badness(given: &[char], candidate: &str) -> Option<usize> {
    let candidate: Vec<char> = candidate.to_lowercase().chars().collect();
    let shorter = given.len().min(candidate.len());
    let edits = distance(given, &candidate);
    // With more than half of its letters changed it is another name.
    if edits <= MAX_DISTANCE && edits * 2 <= shorter {
        return Some(edits);
    }
    let one_begins_the_other = given.starts_with(&candidate) || candidate.starts_with(given);
    (one_begins_the_other && shorter >= MIN_PREFIX_CHARS).then_some(MAX_DISTANCE + 1)
}

/// Levenshtein's distance, one row at a time.
fn distance(left: &[char], right: &[char]) -> usize {
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, r) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(l != r);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn two_slips_are_forgiven() {
        assert_eq!(
            nearest("htpassword", ["htpasswd", "token"]),
            Some("htpasswd")
        );
        assert_eq!(nearest("adrr", ["addr", "host"]), Some("addr"));
        assert_eq!(nearest("preffix", ["prefix", "host"]), Some("prefix"));
    }

    #[test]
    fn a_beginning_is_enough() {
        assert_eq!(
            nearest("drain", ["draintimeout", "addr"]),
            Some("draintimeout")
        );
        assert_eq!(nearest("levels", ["level", "fields"]), Some("level"));
    }

    #[test]
    fn case_alone_is_the_nearest() {
        assert_eq!(nearest("Storage", ["storage"]), Some("storage"));
    }

    #[test]
    fn short_names_need_to_be_nearer() {
        assert_eq!(nearest("log", ["tag", "gc"]), None);
        assert_eq!(nearest("x", ["gc", "log"]), None);
    }
}
