//! Patterns for repository names: `*` within a component, `**` across them.

/// A pattern. Matching takes time in proportion to its length times the name's, whatever they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Glob(Vec<Part>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Byte(u8),
    /// Any text without a slash.
    Within,
    /// Any text.
    Across,
}

impl Glob {
    /// `None` if no repository's name could match.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let fits = |b: u8| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-' | b'/')
        };
        let mut parts = Vec::new();
        for run in text
            .as_bytes()
            .chunk_by(|a, b| (*a == b'*') == (*b == b'*'))
        {
            match run {
                b"*" => parts.push(Part::Within),
                b"**" => parts.push(Part::Across),
                _ if run.iter().all(|b| fits(*b)) => {
                    parts.extend(run.iter().map(|b| Part::Byte(*b)));
                }
                _ => return None,
            }
        }
        (!parts.is_empty()).then_some(Self(parts))
    }

    /// Follows all ways through the pattern at once, a byte of the name at a time.
    pub(crate) fn matches(&self, name: &str) -> bool {
        let mut reached = vec![false; self.0.len().saturating_add(1)];
        if let Some(start) = reached.first_mut() {
            *start = true;
        }
        self.skip_empty(&mut reached);
        for byte in name.bytes() {
            reached = self.step(&reached, byte);
            self.skip_empty(&mut reached);
        }
        reached.last().copied().unwrap_or(false)
    }

    fn step(&self, reached: &[bool], byte: u8) -> Vec<bool> {
        let mut next = vec![false; reached.len()];
        for (at, part) in self.0.iter().enumerate() {
            if !reached[at] {
                continue;
            }
            match part {
                Part::Byte(expected) => next[at + 1] |= *expected == byte,
                Part::Within => next[at] |= byte != b'/',
                Part::Across => next[at] = true,
            }
        }
        next
    }

    /// Wildcards stand for no text too.
    fn skip_empty(&self, reached: &mut [bool]) {
        for (at, part) in self.0.iter().enumerate() {
            if reached[at] && !matches!(part, Part::Byte(_)) {
                reached[at + 1] = true;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn one_star_stays_within_a_component() {
        let cases = [
            ("a", "a", true),
            ("a", "ab", false),
            ("a", "b/a", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("**", "a/b/c", true),
            ("a/*", "a/b", true),
            ("a/*", "a/b/c", false),
            ("a/*", "a", false),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**", "ab/c", false),
            ("a-*/b", "a-x/b", true),
            ("a-*/b", "a-x/y/b", false),
            ("**/b", "a/x/b", true),
            ("**/b", "b", false),
            ("a*c", "abbc", true),
            ("a*c", "ab/c", false),
            ("a.b", "axb", false),
        ];
        for (glob, name, expected) in cases {
            assert_eq!(
                Glob::parse(glob).unwrap().matches(name),
                expected,
                "{glob} {name}"
            );
        }
    }

    #[test]
    fn many_stars_cost_little() {
        let glob = Glob::parse(&"a*".repeat(200)).unwrap();
        assert!(!glob.matches(&format!("{}b/", "a".repeat(254))));
    }

    proptest! {
        #[test]
        fn it_agrees_with_a_regular_expression(glob in "[ab/]{0,3}(\\*{1,2}[ab/]{1,2}){0,3}", name in "[ab/]{0,8}") {
            let Some(parsed) = Glob::parse(&glob) else { return Ok(()) };
            let pattern = glob.replace("**", "\0").replace('*', "[^/]*").replace('\0', ".*");
            let regex = regex::Regex::new(&format!("^{pattern}$")).unwrap();
            prop_assert_eq!(parsed.matches(&name), regex.is_match(&name));
        }

        #[test]
        fn no_pattern_panics(glob in any::<String>(), name in any::<String>()) {
            if let Some(glob) = Glob::parse(&glob) {
                glob.matches(&name);
            }
        }
    }
}
