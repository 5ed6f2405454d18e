//! A cut that leaves some of the unsynced: what it may leave, and that it does not leave anything else.

use std::collections::BTreeSet;

use super::{Bench, SEEDS};
use crate::image::Cut;

#[test]
fn the_same_seed_leaves_the_same() {
    let mut bench = Bench::new();
    for number in 0..20 {
        bench.file(&format!("file-{number}"), &[1; 5000]);
    }
    let image = bench.image(Cut::Some(7));
    let again = bench.image(Cut::Some(7));
    assert_eq!(image.paths(), again.paths());
    for path in image.paths() {
        assert!(image.read(&path) == again.read(&path));
    }
    let others = SEEDS.filter(|seed| bench.left(Cut::Some(*seed)) != super::names(&image));
    assert!(others.count() > 300, "and another seed something else");
}

#[test]
fn what_was_synced_survives_every_cut() {
    let mut bench = Bench::new();
    bench.directory("dir");
    bench.file("dir/file", b"bytes");
    bench.disk.settle();
    bench.file("dir/other", b"other");
    for seed in SEEDS {
        let content = bench.read(Cut::Some(seed), "dir/file");
        assert_eq!(content, Some(b"bytes".to_vec()));
    }
}

#[test]
fn steps_of_different_names_survive_independently() {
    let mut bench = Bench::new();
    bench.file("first", b"");
    bench.file("second", b"");
    let left: BTreeSet<_> = SEEDS.map(|seed| bench.left(Cut::Some(seed))).collect();
    assert_eq!(left.len(), 4, "none, each and both: {left:?}");
}

#[test]
fn steps_of_one_name_survive_in_order() {
    let mut bench = Bench::new();
    bench.file("name", b"");
    bench.rename("name", "passing").expect("renamed");
    bench.rename("passing", "last").expect("renamed");
    bench.unlink("last");
    let left: BTreeSet<_> = SEEDS.map(|seed| bench.left(Cut::Some(seed))).collect();
    let expected = [vec![], vec!["name"], vec!["passing"], vec!["last"]];
    let expected: BTreeSet<_> = expected
        .map(|names| names.into_iter().map(str::to_owned).collect())
        .into();
    assert_eq!(left, expected);
}

#[test]
fn writes_survive_independently() {
    let mut bench = Bench::new();
    let ino = bench.file("file", &[b'.'; 1024]);
    bench.disk.settle();
    bench.write(ino, 0, b"first").expect("room");
    bench.write(ino, 512, b"second").expect("room");
    let left: BTreeSet<_> = SEEDS
        .filter_map(|seed| bench.read(Cut::Some(seed), "file"))
        .map(|content| (content[0] == b'f', content[512] == b's'))
        .collect();
    assert_eq!(left.len(), 4, "none, each and both");
}

#[test]
fn a_write_is_torn_between_sectors_and_never_within_one() {
    let mut bench = Bench::new();
    let ino = bench.file("file", &[b'.'; 4096]);
    bench.disk.settle();
    bench.write(ino, 100, &[b'x'; 3000]).expect("room");
    let mut torn = 0;
    for seed in SEEDS {
        let content = bench.read(Cut::Some(seed), "file").expect("it is there");
        let written = &content[100..3100];
        torn += usize::from(written.contains(&b'.') && written.contains(&b'x'));
        let inner = &content[512..3072];
        let whole = |sector: &[u8]| sector.iter().all(|byte| *byte == sector[0]);
        assert!(inner.chunks(512).all(whole), "seed {seed}");
        assert!(
            content[..100]
                .iter()
                .chain(&content[3100..])
                .all(|byte| *byte == b'.')
        );
    }
    assert!(torn > 0, "some are torn");
}

#[test]
fn a_size_may_survive_without_its_bytes() {
    let mut bench = Bench::new();
    let ino = bench.file("file", b"");
    bench.disk.settle();
    bench.write(ino, 0, &[b'x'; 600]).expect("room");
    let left: BTreeSet<_> = SEEDS
        .filter_map(|seed| bench.read(Cut::Some(seed), "file"))
        .collect();
    assert!(left.contains(&vec![0; 600]), "size alone");
    assert!(left.contains(&vec![]), "nothing");
    assert!(left.contains(&vec![b'x'; 600]), "all");
}

#[test]
fn a_truncation_may_survive_without_the_write_after_it() {
    let mut bench = Bench::new();
    let ino = bench.file("file", b"old content");
    bench.disk.settle();
    bench.resize(ino, 0);
    bench.write(ino, 0, b"new").expect("room");
    let left: BTreeSet<_> = SEEDS
        .filter_map(|seed| bench.read(Cut::Some(seed), "file"))
        .collect();
    for expected in [&b""[..], b"new", b"old content", b"new content"] {
        assert!(left.contains(expected), "{expected:?}");
    }
}

#[test]
fn all_but_one_of_many_can_survive() {
    let mut bench = Bench::new();
    for number in 0..50 {
        bench.file(&format!("file-{number}"), b"");
    }
    let most = SEEDS.filter(|seed| bench.left(Cut::Some(*seed)).len() == 49);
    assert!(most.count() > 0);
    let few = SEEDS.filter(|seed| bench.left(Cut::Some(*seed)).len() < 10);
    assert!(few.count() > 0);
}
