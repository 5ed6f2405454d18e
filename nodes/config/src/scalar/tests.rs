//! What texts mean.

use std::time::Duration;

use super::{Unfit, boolean, count, duration, integer, nanoseconds, one_of, positive_duration};

#[test]
fn booleans_are_those_of_yaml_1_1() {
    for text in [
        "y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE",
    ] {
        assert_eq!(boolean(text), Ok(true), "{text}");
    }
    for text in [
        "n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE",
    ] {
        assert_eq!(boolean(text), Ok(false), "{text}");
    }
    for text in ["yEs", "1", "0", "t", "maybe", " true"] {
        assert!(boolean(text).is_err(), "{text}");
    }
}

#[test]
fn integers_come_in_every_radix() {
    let cases = [
        ("0", 0),
        ("12", 12),
        ("-12", -12),
        ("+12", 12),
        ("1_000", 1000),
        ("0644", 0o644),
        ("0o644", 0o644),
        ("0x1F", 31),
        ("-0b11", -3),
        ("9223372036854775807", i64::MAX),
        ("-9223372036854775808", i64::MIN),
    ];
    for (text, value) in cases {
        assert_eq!(integer(text), Ok(value), "{text}");
    }
    for text in [
        "",
        "-",
        "_",
        "0x",
        "0x-1",
        "08",
        "1.5",
        "1e3",
        "ten",
        "--1",
        "9223372036854775808",
    ] {
        assert!(integer(text).is_err(), "{text}");
    }
}

#[test]
fn counts_are_not_negative_and_fit() {
    assert_eq!(count::<u32>("25"), Ok(25));
    assert_eq!(count::<u32>("-1"), Err(Unfit::new("must not be negative")));
    assert_eq!(
        count::<u32>("4294967296"),
        Err(Unfit::new("is too large a number"))
    );
}

#[test]
fn durations_are_those_of_go() {
    let cases = [
        ("0", 0),
        ("1h30m", 5_400_000_000_000),
        ("500ms", 500_000_000),
        ("1.5s", 1_500_000_000),
        (".5s", 500_000_000),
        ("5.s", 5_000_000_000),
        ("-1.5h", -5_400_000_000_000),
        ("+5s", 5_000_000_000),
        ("2us", 2_000),
        ("2\u{b5}s", 2_000),
        ("2\u{3bc}s", 2_000),
        ("3ns", 3),
        ("168h", 604_800_000_000_000),
        ("0.1000000000000000000001h", 360_000_000_000),
        ("9223372036854775807ns", i64::MAX),
    ];
    for (text, value) in cases {
        assert_eq!(nanoseconds(text), Ok(value), "{text}");
    }
    for text in [
        "",
        "s",
        ".s",
        "1",
        "-",
        "1h 30m",
        "1d",
        "h1",
        "1hm",
        "3000000h",
        "99999999999999999999999s",
    ] {
        let bare_number = text == "1";
        assert_eq!(nanoseconds(text).is_ok(), bare_number, "{text}");
    }
}

#[test]
fn a_bare_number_counts_nanoseconds() {
    assert_eq!(duration("10000000000"), Ok(Duration::from_secs(10)));
}

#[test]
fn durations_may_be_kept_from_being_negative_or_zero() {
    assert_eq!(duration("0"), Ok(Duration::ZERO));
    assert_eq!(duration("-1s"), Err(Unfit::new("must not be negative")));
    assert_eq!(
        positive_duration("0s"),
        Err(Unfit::new("must be longer than zero"))
    );
}

#[test]
fn words_are_found_in_any_case_and_suggested() {
    let words = [("text", 1), ("json", 2)];
    assert_eq!(one_of("JSON", &words), Ok(2));
    let unfit = one_of("jsom", &words).unwrap_err();
    assert_eq!(unfit.reason, "is not one of text, json");
    assert_eq!(unfit.suggestion.as_deref(), Some("json"));
}
