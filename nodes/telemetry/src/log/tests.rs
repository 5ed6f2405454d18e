//! Lines as they come out, against what the reference prints; and that no value forges a line.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, UNIX_EPOCH};

use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;
use crate::request::{Failure, Request, Response, Vars, authorized, authorizing, unauthorized};

fn options(format: Format) -> Options {
    Options {
        level: Level::Debug,
        format: Some(format),
        fields: vec![("service".to_owned(), "registry".to_owned())],
        report_caller: false,
        logstash_type: None,
        identity: Identity {
            version: "1.2.3".to_owned(),
            instance: "884e7567-a782-48c0-a19a-cb0faf6a1e32".to_owned(),
        },
    }
}

/// What is logged by `act`.
fn logged(options: &Options, act: impl FnOnce()) -> String {
    let written = Arc::new(Mutex::new(Vec::new()));
    let clock: Clock = Arc::new(|| UNIX_EPOCH + Duration::new(1_795_257_174, 157_825_200));
    let output: Output = {
        let written = Arc::clone(&written);
        Arc::new(move |line| written.lock().unwrap().extend_from_slice(line.as_bytes()))
    };
    tracing::subscriber::with_default(subscriber(options, clock, output), act);
    let written = written.lock().unwrap().clone();
    String::from_utf8(written).unwrap()
}

/// Reads one line of `name=value` pairs; `None` if it is none.
fn parse_text(line: &str) -> Option<BTreeMap<String, String>> {
    let mut rest = line.strip_suffix('\n')?;
    let mut pairs = BTreeMap::new();
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=')?;
        let (value, after) = match after.strip_prefix('"') {
            None => match after.split_once(' ') {
                None => (after.to_owned(), ""),
                Some((value, after)) => (value.to_owned(), after),
            },
            Some(quoted) => {
                let (value, after) = unquote(quoted)?;
                (value, after.strip_prefix(' ').unwrap_or(after))
            }
        };
        if pairs.insert(name.to_owned(), value).is_some() {
            return None;
        }
        rest = after;
    }
    Some(pairs)
}

/// What stands before the closing quote, and what after it.
fn unquote(quoted: &str) -> Option<(String, &str)> {
    let mut value = String::new();
    let mut characters = quoted.chars();
    loop {
        match characters.next()? {
            '"' => return Some((value, characters.as_str())),
            '\\' => {
                let digits = match characters.next()? {
                    'a' => {
                        value.push('\x07');
                        continue;
                    }
                    'b' => {
                        value.push('\x08');
                        continue;
                    }
                    'f' => {
                        value.push('\x0c');
                        continue;
                    }
                    'n' => {
                        value.push('\n');
                        continue;
                    }
                    'r' => {
                        value.push('\r');
                        continue;
                    }
                    't' => {
                        value.push('\t');
                        continue;
                    }
                    'v' => {
                        value.push('\x0b');
                        continue;
                    }
                    'x' => 2,
                    'u' => 4,
                    'U' => 8,
                    other => {
                        value.push(other);
                        continue;
                    }
                };
                let hex = characters.by_ref().take(digits).collect::<String>();
                value.push(char::from_u32(u32::from_str_radix(&hex, 16).ok()?)?);
            }
            other => value.push(other),
        }
    }
}

fn whole_request() {
    let span = Request {
        host: "127.0.0.1:5987",
        id: "c77808d9",
        method: "GET",
        remote_addr: "127.0.0.1:51090",
        uri: "/v2/a/blobs/uploads/1?_state=hush&digest=sha256:00",
        user_agent: Some("x\"y\\z\tt"),
        referer: Some("ref\"é"),
        content_type: None,
    }
    .span();
    let _within = span.enter();
    Vars {
        name: Some("foo"),
        reference: Some("latest"),
        ..Vars::default()
    }
    .record(&span);
    authorizing();
    authorized(&span, "al ice");
    let response = Response {
        status: 404,
        written: 96,
        content_type: Some("application/json; charset=utf-8"),
        duration: Duration::from_nanos(1_028_549),
    };
    response.completed();
    response.completed_with_error(&Failure {
        code: "manifest unknown",
        message: "manifest unknown",
        detail: None,
    });
    unauthorized("basic authentication challenge for realm \"r\"");
}

#[test]
fn text_is_what_the_reference_prints() {
    let lines = logged(&options(Format::Text), || {
        tracing::info!("redis not configured");
        tracing::info!("listening on {}", "[::]:5000");
        tracing::warn!(environment = "dev test", empty = "", "GetImageManifest");
        fatal(&"cannot listen");
        tracing::error!(target: PANIC, place = "a.rs:1", "gone");
    });
    let own = "go.version=rust1.95 instance.id=884e7567-a782-48c0-a19a-cb0faf6a1e32 service=registry version=1.2.3";
    let time = "time=\"2026-11-21T10:32:54.1578252Z\"";
    let expected = [
        format!("{time} level=info msg=\"redis not configured\" {own}\n"),
        format!("{time} level=info msg=\"listening on [::]:5000\" {own}\n"),
        format!(
            "{time} level=warning msg=GetImageManifest empty= environment=\"dev test\" {own}\n"
        ),
        format!("{time} level=fatal msg=\"cannot listen\" {own}\n"),
        format!(
            "{time} level=panic msg=gone {} place=\"a.rs:1\" {}\n",
            "go.version=rust1.95 instance.id=884e7567-a782-48c0-a19a-cb0faf6a1e32",
            "service=registry version=1.2.3"
        ),
    ];
    assert_eq!(lines, expected.concat());
}

#[test]
fn a_start_is_told_in_known_words() {
    use crate::startup;
    let lines = logged(&options(Format::Text), || {
        startup::secret_made_up();
        startup::no_redis();
        startup::descriptor_cache("inmemory");
        startup::upload_purge_in(Duration::from_mins(55));
        startup::listening(&"[::]:5000", true);
        startup::listening(&"127.0.0.1:5987", false);
        startup::debug_listening(&"127.0.0.1:5988");
        startup::metrics_on("/metrics");
    });
    let told = lines
        .split_inclusive('\n')
        .map(|line| parse_text(line).unwrap())
        .map(|line| format!("{} {}", line["level"], line["msg"]))
        .collect::<Vec<_>>();
    assert!(told[0].starts_with("warning No HTTP secret provided - generated random secret."));
    assert_eq!(
        told[1..],
        [
            "info redis not configured",
            "info using inmemory blob descriptor cache",
            "info Starting upload purge in 55m0s",
            "info listening on [::]:5000, tls",
            "info listening on 127.0.0.1:5987",
            "info debug server listening 127.0.0.1:5988",
            "info providing prometheus metrics on /metrics",
        ]
    );
}

#[test]
fn a_request_shows_on_each_of_its_lines() {
    let lines = logged(&options(Format::Text), whole_request);
    let request = "go.version=rust1.95 http.request.host=\"127.0.0.1:5987\" http.request.id=c77808d9 \
        http.request.method=GET http.request.referer=\"ref\\\"é\" http.request.remoteaddr=\"127.0.0.1:51090\" \
        http.request.uri=\"/v2/a/blobs/uploads/1?_state=REDACTED&digest=sha256:00\" \
        http.request.useragent=\"x\\\"y\\\\z\\tt\"";
    let response = "http.response.contenttype=\"application/json; charset=utf-8\" \
        http.response.duration=1.028549ms http.response.status=404 http.response.written=96";
    let own = "instance.id=884e7567-a782-48c0-a19a-cb0faf6a1e32 service=registry";
    let vars = "vars.name=foo vars.reference=latest version=1.2.3";
    let time = "time=\"2026-11-21T10:32:54.1578252Z\"";
    let user = "auth.user.name=\"al ice\"";
    let expected = [
        format!("{time} level=debug msg=\"authorizing request\" {request} {own} {vars}\n"),
        format!("{time} level=info msg=\"authorized request\" {user} {request} {own} {vars}\n"),
        format!(
            "{time} level=info msg=\"response completed\" {user} {request} {response} {own} {vars}\n"
        ),
        format!(
            "{time} level=error msg=\"response completed with error\" {user} err.code=\"manifest unknown\" \
             err.message=\"manifest unknown\" {request} {response} {own} {vars}\n"
        ),
        format!(
            "{time} level=warning msg=\"error authorizing context: basic authentication challenge for realm \
             \\\"r\\\"\" {user} {request} {own} {vars}\n"
        ),
    ];
    assert_eq!(lines, expected.concat());
}

#[test]
fn json_has_the_names_and_types_of_logrus() {
    let lines = logged(&options(Format::Json), || {
        tracing::info!(
            msg = "mine",
            level = 1,
            http.response.status = 200,
            left = -1,
            is = true,
            "said <&>"
        );
    });
    assert_eq!(
        lines,
        "{\"fields.level\":1,\"fields.msg\":\"mine\",\"go.version\":\"rust1.95\",\"http.response.status\":200,\
         \"instance.id\":\"884e7567-a782-48c0-a19a-cb0faf6a1e32\",\"is\":true,\"left\":-1,\"level\":\"info\",\
         \"msg\":\"said <&>\",\"service\":\"registry\",\"time\":\"2026-11-21T10:32:54.1578252Z\",\
         \"version\":\"1.2.3\"}\n"
    );
}

#[test]
fn logstash_has_the_names_that_logstash_takes() {
    let mut options = options(Format::Logstash);
    let act = || {
        tracing::info!(
            message_id = 1,
            "type" = "mine",
            msg = "kept",
            "redis not configured"
        );
    };
    assert_eq!(
        logged(&options, act),
        "{\"@timestamp\":\"2026-11-21T10:32:54.1578252Z\",\"@version\":\"1\",\"go.version\":\"rust1.95\",\
         \"instance.id\":\"884e7567-a782-48c0-a19a-cb0faf6a1e32\",\"level\":\"info\",\
         \"message\":\"redis not configured\",\"message_id\":1,\"msg\":\"kept\",\"service\":\"registry\",\
         \"type\":\"mine\",\"version\":\"1.2.3\"}\n"
    );
    options.logstash_type = Some("registry".to_owned());
    let line: Json = serde_json::from_str(&logged(&options, act)).unwrap();
    assert_eq!(line["type"], "registry");
    assert_eq!(line["fields.type"], "mine");
}

#[test]
fn a_terminal_shows_what_differs() {
    let lines = logged(&options(Format::Terminal), || {
        tracing::warn!(check = "a b", "it said \"no\"\x1b[2J\n");
    });
    assert_eq!(
        lines,
        "\x1b[2m10:32:54Z\x1b[0m \x1b[33mWARN \x1b[0m it said \"no\"\\x1b[2J\\n check=\"a b\"\n"
    );
}

#[test]
fn callers_are_named_if_asked_for() {
    let mut options = options(Format::Text);
    options.report_caller = true;
    let act = || tracing::info!(func = "mine", "here");
    let line = parse_text(&logged(&options, act)).unwrap();
    assert_eq!(line["func"], "roadstead_telemetry::log::tests");
    assert!(line["file"].contains("log/tests.rs:"), "{}", line["file"]);
    assert_eq!(line["fields.func"], "mine");
    options.format = Some(Format::Json);
    let line: Json = serde_json::from_str(&logged(&options, act)).unwrap();
    assert_eq!(line["func"], "roadstead_telemetry::log::tests");
}

#[test]
fn the_nearest_field_wins() {
    let lines = logged(&options(Format::Text), || {
        let outer = tracing::info_span!("outer", a = 1, b = 1, service = "span");
        let _outer = outer.enter();
        let inner = tracing::info_span!("inner", b = 2, c = 2);
        let _inner = inner.enter();
        tracing::info!(c = 3, "here");
    });
    let line = parse_text(&lines).unwrap();
    let values = ["a", "b", "c", "service"].map(|name| line[name].as_str());
    assert_eq!(values, ["1", "2", "3", "span"]);
}

#[test]
fn libraries_are_heard_from_warn_up_and_ours_at_the_level() {
    let act = || {
        for level in ["hyper", "h2", "rustls", "redb"] {
            match level {
                "hyper" => tracing::info!(target: "hyper::proto", "noise"),
                "h2" => tracing::debug!(target: "h2", "noise"),
                "rustls" => tracing::warn!(target: "rustls", "heard"),
                _ => tracing::error!(target: "redb", "heard"),
            }
        }
        tracing::error!("e");
        tracing::warn!("w");
        tracing::info!("i");
        tracing::debug!("d");
    };
    for (level, expected) in [
        (Level::Error, "heard e"),
        (Level::Warn, "heard heard e w"),
        (Level::Info, "heard heard e w i"),
        (Level::Debug, "heard heard e w i d"),
    ] {
        let mut options = options(Format::Text);
        options.level = level;
        let lines = logged(&options, act);
        let heard = lines
            .split_inclusive('\n')
            .map(|line| parse_text(line).unwrap()["msg"].clone())
            .collect::<Vec<_>>();
        assert_eq!(heard.join(" "), expected);
    }
}

#[test]
fn errors_carry_their_request_at_the_level_error() {
    let mut options = options(Format::Text);
    options.level = Level::Error;
    let lines = logged(&options, whole_request);
    let line = parse_text(&lines).expect("one line");
    assert_eq!(line["http.request.id"], "c77808d9");
}

#[test]
fn a_field_that_logs_while_it_is_written_does_not_harm() {
    struct Talker;
    impl fmt::Display for Talker {
        fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
            tracing::info!("within");
            out.write_str("talk")
        }
    }
    let lines = logged(
        &options(Format::Text),
        || tracing::info!(who = %Talker, "around"),
    );
    let last = parse_text(lines.split_inclusive('\n').next_back().unwrap()).unwrap();
    assert_eq!(
        (last["msg"].as_str(), last["who"].as_str()),
        ("around", "talk")
    );
}

/// Names that a configuration may hold are no way to forge a line either.
#[test]
fn configured_names_stay_within_their_line() {
    let mut options = options(Format::Text);
    options.fields = vec![("a\nlevel=x \"b".to_owned(), "v".to_owned())];
    let lines = logged(&options, || tracing::info!("here"));
    assert_eq!(parse_text(&lines).unwrap()["a_level_x__b"], "v");
}

fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~]{0,20}",
        "(\n|\r|\u{85}|\u{2028}|\u{2029}|\u{202e}|\x1b\\[2J|\x7f|\u{feff}|\u{a0}|é|a| |=|\"|\\\\|𐀀|\u{e0001}){0,12}",
    ]
}

/// Nothing that any reader might take for the end of a line, and nothing that a terminal obeys.
fn assert_one_line(line: &str) {
    let content = line.strip_suffix('\n').expect("a line");
    let harm = |character: char| {
        character.is_control()
            || matches!(character, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    assert!(!content.contains(harm), "{content:?}");
}

proptest! {
    #[test]
    fn any_value_makes_one_line_of_text_that_reads_back(message in any_text(), value in any_text(), other in any_text()) {
        let line = logged(&options(Format::Text), || {
            let span = tracing::info_span!("request", a.b = value);
            let _within = span.enter();
            tracing::info!(other, "{message}");
        });
        assert_one_line(&line);
        let pairs = parse_text(&line).expect("pairs");
        prop_assert_eq!(&pairs["a.b"], &value);
        prop_assert_eq!(&pairs["other"], &other);
        prop_assert_eq!(pairs.get("msg").cloned().unwrap_or_default(), message);
        prop_assert_eq!(&pairs["level"], "info");
    }

    #[test]
    fn any_value_makes_one_line_of_json_that_reads_back(message in any_text(), value in any_text()) {
        for (format, name) in [(Format::Json, "msg"), (Format::Logstash, "message")] {
            let line = logged(&options(format), || tracing::info!(a.b = value, "{message}"));
            assert_one_line(&line);
            let object: Json = serde_json::from_str(&line).expect("JSON");
            prop_assert_eq!(object["a.b"].as_str(), Some(value.as_str()));
            prop_assert_eq!(object[name].as_str(), Some(message.as_str()));
        }
    }

    #[test]
    fn any_value_makes_one_line_on_a_terminal(message in any_text(), value in any_text()) {
        let line = logged(&options(Format::Terminal), || tracing::info!(value, "{message}"));
        let content = line.replace("\x1b[2m", "").replace("\x1b[0m", "").replace("\x1b[32m", "");
        assert_one_line(&content);
    }
}
