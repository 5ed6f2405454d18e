//! `middleware`: what the reference lets stand between clients and content. None of it is supported yet.
//!
//! Those of `storage` change where clients are sent for the bytes of a blob. Content in files comes from this process either
//! way, so it is enough to say so; clients of a bucket would be sent elsewhere than the operator wants, which is refused.
//! Those of `registry` and `repository` are programs that somebody built into the reference, and may have guarded
//! something: to go on without them would be unsafe.

use crate::DriverKind;
use crate::reader::Reader;
use crate::scalar;
use crate::suggest;

const OF_STORAGE: &[&str] = &["cloudfront", "redirect", "rewrite"];
const FILTERS: &[(&str, ())] = &[("none", ()), ("aws", ()), ("awsregion", ())];

const NO_OTHER_HOST: &str =
    "clients are not sent to its baseurl for blobs; remove it, or write disabled: true";
const NO_REWRITING: &str = "the URLs that clients are redirected to are not rewritten; write disabled: true, and \
     storage.redirect.disable: true if clients do not reach the store by its own name";
const BUCKET: &str = "is not supported with a bucket yet: clients would be sent to the bucket instead; take it out, or \
     write disabled: true and storage.redirect.disable: true";
const BUILT_IN: &str = "cannot be had: no middleware of this sort is built in, and to serve without it could be unsafe; remove it, \
     or write disabled: true";

/// Notes the mistakes, and what becomes of the rest.
pub(crate) fn look_at(reader: &mut Reader<'_>, driver: &DriverKind) {
    let on_bucket = matches!(driver, DriverKind::S3(_));
    let _nothing: Vec<()> = reader.each("middleware.storage", |entry| {
        let state = match is_disabled(entry) {
            true => State::Disabled,
            false if on_bucket => State::OnBucket,
            false => State::OnFiles,
        };
        storage(entry, state);
        None
    });
    for list in ["middleware.registry", "middleware.repository"] {
        let _nothing: Vec<()> = reader.each(list, |entry| {
            if !is_disabled(entry) {
                named(entry, BUILT_IN);
            }
            None
        });
    }
}

fn is_disabled(entry: &mut Reader<'_>) -> bool {
    entry.read("disabled", scalar::boolean) == Some(true)
}

/// What an entry of `middleware.storage` would work on.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Disabled,
    OnFiles,
    OnBucket,
}

/// Refuses the entry by its name.
fn named(entry: &mut Reader<'_>, reason: &str) {
    let _name: Option<()> =
        entry.required("name", "write which", |_| Err(scalar::Unfit::new(reason)));
}

fn storage(entry: &mut Reader<'_>, state: State) {
    let name = entry.text("name");
    match name.as_deref() {
        Some("cloudfront") => cloudfront(entry, state),
        Some("redirect") => redirect(entry, state),
        Some("rewrite") => has_no_effect(entry, state, NO_REWRITING),
        Some(other) => {
            let meant = suggest::nearest(other, OF_STORAGE.iter().copied()).map(str::to_owned);
            let reason = format!("is not one of {}", OF_STORAGE.join(", "));
            let unfit = scalar::Unfit::new(reason).suggest(meant);
            let _name: Option<()> = entry.read("name", |_| Err(unfit));
        }
        None => entry.missing("name", "write cloudfront, redirect or rewrite"),
    }
}

fn has_no_effect(entry: &mut Reader<'_>, state: State, text: &str) {
    match state {
        State::Disabled => {}
        State::OnFiles => entry.remark("", text),
        State::OnBucket => entry.mistake("name", BUCKET),
    }
}

fn redirect(entry: &mut Reader<'_>, state: State) {
    if base(entry).is_none() && state != State::Disabled {
        entry.missing("options.baseurl", "write where blobs are downloaded from");
    }
    has_no_effect(entry, state, NO_OTHER_HOST);
}

/// `None` when absent; a wrong one is noted.
fn base(entry: &mut Reader<'_>) -> Option<String> {
    let _url: Option<_> = entry.read("options.baseurl", crate::url::parse);
    entry.text("options.baseurl")
}

fn cloudfront(entry: &mut Reader<'_>, state: State) {
    let needed = [
        (base(entry), "baseurl", "write the distribution's URL"),
        (
            entry.text("options.privatekey"),
            "privatekey",
            "write the path of the key that signs URLs",
        ),
        (
            entry.text("options.keypairid"),
            "keypairid",
            "write the id of that key",
        ),
    ];
    for (value, key, what_to_write) in needed {
        if value.is_none() && state != State::Disabled {
            entry.missing(&format!("options.{key}"), what_to_write);
        }
    }
    for key in ["duration", "updatefrequency", "updatefrenquency"] {
        let _time: Option<_> = entry.read(&format!("options.{key}"), scalar::positive_duration);
    }
    let _filter: Option<()> =
        entry.read("options.ipfilteredby", |text| scalar::one_of(text, FILTERS));
    let by_region = entry.text("options.ipfilteredby").as_deref() == Some("awsregion");
    if by_region && entry.text("options.awsregion").is_none() && state != State::Disabled {
        entry.missing("options.awsregion", "ipfilteredby: awsregion needs it");
    }
    let _url: Option<_> = entry.read("options.iprangesurl", crate::url::parse);
    has_no_effect(entry, state, NO_OTHER_HOST);
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn told(middleware: &str) -> Vec<String> {
        let text = format!("version: 0.1\nstorage: inmemory\nmiddleware: {{{middleware}}}\n");
        let lines = match Config::load(&text, []) {
            Ok(loaded) => {
                let warnings = loaded.warnings.iter().map(ToString::to_string);
                warnings.collect::<Vec<_>>().join("\n")
            }
            Err(refused) => refused.to_string(),
        };
        let unsupported = "have no effect in this version yet: middleware";
        lines
            .lines()
            .filter(|line| !line.contains(unsupported))
            .map(str::to_owned)
            .collect()
    }

    #[test]
    fn mistakes_in_what_is_not_supported_are_named() {
        let given = "storage: [{name: cloudfrond}, {}, {name: cloudfront, options: {baseurl: cdn, \
             keypairid: k, duration: 0s, ipfilteredby: awsregion, basurl: x}}, {name: redirect}]";
        let expected = [
            "middleware.storage[0].name (line 3): \"cloudfrond\" is not one of cloudfront, redirect, rewrite; did \
             you mean cloudfront?",
            "middleware.storage[1].name (line 3): is missing; write cloudfront, redirect or rewrite",
            "middleware.storage[2].options.baseurl (line 3): \"cdn\" is not a URL; write for example \
             https://registry.example",
            "middleware.storage[2].options.privatekey (line 3): is missing; write the path of the key that signs URLs",
            "middleware.storage[2].options.duration (line 3): \"0s\" must be longer than zero",
            "middleware.storage[2].options.awsregion (line 3): is missing; ipfilteredby: awsregion needs it",
            "middleware.storage[3].options.baseurl (line 3): is missing; write where blobs are downloaded from",
        ];
        let told = told(given);
        let mistakes: Vec<_> = told
            .iter()
            .filter(|line| !line.starts_with("warning: "))
            .collect();
        assert_eq!(mistakes, expected.iter().collect::<Vec<_>>());
        let stranger = "warning: middleware.storage[2].options.basurl (line 3): ignoring a key that the configuration \
             format does not have; did you mean baseurl?";
        assert!(told.iter().any(|line| line == stranger), "{told:?}");
    }

    #[test]
    fn one_that_may_have_guarded_something_is_refused_unless_it_is_disabled() {
        for list in ["registry", "repository"] {
            let told_of = |rest: &str| told(&format!("{list}: [{{name: guard{rest}}}]")).concat();
            let expected = format!("middleware.{list}[0].name (line 3): \"guard\" cannot be had");
            assert!(told_of("").starts_with(&expected), "{}", told_of(""));
            assert_eq!(told_of(", disabled: true, options: {a: b}"), "");
            let nameless = told(&format!("{list}: [{{}}]")).concat();
            assert!(nameless.contains("is missing; write which"), "{nameless}");
        }
    }

    #[test]
    fn what_is_disabled_need_not_be_complete() {
        assert_eq!(
            told("storage: [{name: cloudfront, disabled: true}]"),
            Vec::<String>::new()
        );
    }
}
