//! Text to tree: what is kept, what is resolved, what is refused.

use super::{Document, Fault, Kind, Node};
use crate::mistake::Origin;

fn document(text: &str) -> Result<Document, Fault> {
    super::parse(text, &Origin::Line)
}

fn root(text: &str) -> Node {
    document(text).unwrap().root
}

fn fault(text: &str) -> (usize, String) {
    let fault = document(text).unwrap_err();
    (fault.line, fault.reason)
}

#[test]
fn scalars_keep_the_text_that_was_written() {
    let root = root("a: 0644\nb: 1.10\nc: yes\nd: 'yes'\ne: \"a\\tb\"\nf: 1_000\n");
    let texts: Vec<_> = root
        .entries()
        .iter()
        .map(|(_, value)| value.text())
        .collect();
    let expected = ["0644", "1.10", "yes", "yes", "a\tb", "1_000"];
    assert_eq!(texts, expected.map(Some));
}

#[test]
fn values_know_the_line_of_their_key() {
    let root = root("a:\n  b:\n    c: 1\nd:\n  - 1\n  - 2\n");
    let a = root.get("a").unwrap();
    assert_eq!(a.origin, Origin::Line(1));
    assert_eq!(a.get("b").unwrap().origin, Origin::Line(2));
    assert_eq!(root.get("d").unwrap().items()[1].origin, Origin::Line(6));
}

#[test]
fn null_is_only_null_without_quotes() {
    let root = root("a:\nb: ~\nc: null\nd: 'null'\ne: ''\nf: !!str null\n");
    let nulls: Vec<_> = root
        .entries()
        .iter()
        .map(|(_, value)| value.kind == Kind::Null)
        .collect();
    assert_eq!(nulls, [true, true, true, false, false, false]);
}

#[test]
fn nothing_is_null() {
    assert_eq!(root("").kind, Kind::Null);
    assert_eq!(root("# only a comment\n").kind, Kind::Null);
}

#[test]
fn an_alias_repeats_its_anchor() {
    let root = root("a: &x {k: v}\nb: *x\n");
    assert_eq!(root.get("a").unwrap().kind, root.get("b").unwrap().kind);
    assert_eq!(root.get("b").unwrap().origin, Origin::Line(2));
}

#[test]
fn merged_entries_yield_to_written_ones_and_to_earlier_merges() {
    let root = root("x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  a: 3\n");
    let z = root.get("z").unwrap();
    let text = |key| z.get(key).and_then(Node::text);
    assert_eq!(
        (text("a"), text("b"), text("c")),
        (Some("3"), Some("1"), Some("2"))
    );
    assert_eq!(z.entries().len(), 3);
}

#[test]
fn a_merge_key_takes_maps_only() {
    assert_eq!(
        fault("a:\n  <<: 1\n"),
        (2, "a merge key takes a map or a list of maps".to_owned())
    );
}

#[test]
fn a_key_may_stand_only_once() {
    let expected = "the key a stands twice, first on line 1";
    assert_eq!(fault("a: 1\nb: 2\na: 3\n"), (3, expected.to_owned()));
}

#[test]
fn a_key_is_a_single_value() {
    assert_eq!(fault("? [a]\n: b\n").1, "a key must be a single value");
}

#[test]
fn an_alias_inside_its_own_anchor_is_refused() {
    assert!(
        fault("a: &x\n  b: *x\n")
            .1
            .contains("inside the value it names")
    );
}

#[test]
fn nested_aliases_cannot_grow_without_end() {
    let lines = (1..10).map(|i| {
        let before = i - 1;
        let items = vec![format!("*a{before}"); 10].join(", ");
        format!("a{i}: &a{i} [{items}]\n")
    });
    let text = format!("a0: &a0 [x]\n{}", lines.collect::<String>());
    assert!(fault(&text).1.contains("more than 100000 values"));
}

#[test]
fn depth_is_limited_with_and_without_aliases() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(document(&deep(60)).is_ok());
    assert!(fault(&deep(100)).1.contains("nested deeper"));
    let doubled = format!(
        "a: &a {}\nb: {}*a{}\n",
        deep(40),
        "[".repeat(40),
        "]".repeat(40)
    );
    assert!(fault(&doubled).1.contains("nested deeper"));
}

#[test]
fn size_is_limited() {
    let text = format!("a: {}", "x".repeat(1 << 20));
    assert!(fault(&text).1.contains("longer than 1048576 bytes"));
}

#[test]
fn a_second_document_is_pointed_out_unless_empty() {
    assert_eq!(document("a: 1\n---\nb: 2\n").unwrap().ignored_from, Some(3));
    assert_eq!(document("---\na: 1\n---\n").unwrap().ignored_from, None);
    assert_eq!(document("---\na: 1\n...\n").unwrap().ignored_from, None);
}

#[test]
fn broken_yaml_names_its_line() {
    assert_eq!(fault("a: 1\nb: [1, 2\n").0, 3);
    assert_eq!(fault("a: 1\n  b: 2\n").0, 2);
}

#[test]
fn binary_values_are_refused() {
    assert_eq!(
        fault("a: !!binary aGk=\n").1,
        "binary values are not supported"
    );
}
