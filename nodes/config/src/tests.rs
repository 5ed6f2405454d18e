//! Whole configurations: defaults, and all that is said about files and variables.

mod golden;
mod panics;
mod samples;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::{
    CalledAs, Config, DriverKind, Lies, Limits, Loaded, LogLevel, TwoConfigurations, config_path,
};

fn pairs(variables: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    variables.iter().map(owned).collect()
}

fn warnings(loaded: &Loaded) -> Vec<String> {
    loaded.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn the_default_is_what_reading_nothing_gives() {
    let loaded = Config::load_without_file(PathBuf::from("/data"), []).unwrap();
    assert_eq!(loaded.warnings, []);
    assert_eq!(loaded.config, Config::default_for(PathBuf::from("/data")));
    assert_eq!(loaded.config.http.addr.to_string(), "localhost:5000");
    assert!(loaded.config.storage.delete_enabled);
}

#[test]
fn variables_work_without_a_file() {
    let variables = pairs(&[
        ("REGISTRY_HTTP_ADDR", "0.0.0.0:5000"),
        ("REGISTRY_STORAGE_FILESYSTEM_ROOTDIRECTORY", "/elsewhere"),
        ("REGISTRY_STORAGE_DELETE_ENABLED", "no"),
        ("REGISTRY_LIMITS_MANIFESTSIZE", "1_000"),
        ("REGISTRY_LIMITS_BODYIDLE", "10s"),
    ]);
    let config = Config::load_without_file(PathBuf::from("/data"), variables)
        .unwrap()
        .config;
    assert_eq!(config.http.addr.to_string(), "0.0.0.0:5000");
    let driver = DriverKind::Filesystem {
        root: PathBuf::from("/elsewhere"),
        max_threads: 100,
    };
    assert_eq!(config.storage.driver, driver);
    assert!(!config.storage.delete_enabled);
    assert_eq!(
        config.limits,
        Limits {
            manifest_size: 1000,
            body_idle: Duration::from_secs(10)
        }
    );
}

#[test]
fn every_mistake_is_told_at_once_one_a_line() {
    let text = "\
version: 0.1
log:
  level: warning
storage:
  filesystem:
  delete:
    enabled: maybe
http: :5000
auth:
  htpasswd:
    path: /auth
    user: me
proxy:
  remoteurl: https://a.example
tags: {maxtags: -1}
limits: {manifestsize: 0}
";
    let told = Config::load(text, []).unwrap_err();
    let expected = "\
http (line 8): a single value stands here, where a map belongs
proxy.remoteurl (line 14): mirroring another registry is not supported by this version yet; refusing to serve without it
log.level (line 3): \"warning\" is not one of error, warn, info, debug; did you mean warn?
storage.delete.enabled (line 7): \"maybe\" is not a boolean; write true or false
auth.htpasswd.realm (line 10): is missing; write the name that clients show to their users
tags.maxtags (line 15): \"-1\" must not be negative
limits.manifestsize (line 16): \"0\" must be more than zero
warning: auth.htpasswd.user (line 12): ignoring a key that the configuration format does not have";
    assert_eq!(told.to_string(), expected);
    assert_eq!(told.mistakes[3].line(), Some(7));
    assert_eq!(told.mistakes[3].value.as_deref(), Some("maybe"));
}

#[test]
fn a_mistyped_access_controller_in_the_file_is_an_error() {
    let text = "version: 0.1\nstorage: inmemory\nauth:\n  htpassword:\n    realm: r\n";
    let told = Config::load(text, []).unwrap_err().to_string();
    assert_eq!(
        told,
        "auth.htpassword (line 4): there is no such access controller; did you mean htpasswd?"
    );
}

#[test]
fn unknown_keys_are_warned_of_with_line_and_suggestion() {
    let text = "version: 0.1\nstorage: inmemory\nhttp:\n  adrr: :1\n  Prefix: /\nredis:\n  adrs: [a]\nzebra: 1\n";
    let loaded = Config::load(text, []).unwrap();
    let expected = [
        "http.adrr (line 4): ignoring a key that the configuration format does not have; did you mean addr?",
        "http.Prefix (line 5): ignoring a key that the configuration format does not have; did you mean prefix?",
        "redis.adrs (line 7): ignoring a key that the configuration format does not have; did you mean addrs?",
        "zebra (line 8): ignoring a key that the configuration format does not have",
        "redis (line 6): without redis.addrs nothing of this is used",
    ];
    assert_eq!(warnings(&loaded), expected);
}

#[test]
fn roadsteads_own_keys_are_known() {
    let text = "version: 0.1\nstorage: inmemory\ncluster: {secret: 0123456789abcdef, metadata: ['a:1'], advertise: 'b:1'}\n\
                metadata: {id: 1, dir: d, peers: {1: 'a:1'}}\ngateway: {upstreams: ['a:1'], health: {expect: auto}}\ngc: {interval: 24h}\n";
    assert_eq!(warnings(&Config::load(text, []).unwrap()), [""; 0]);
}

#[test]
fn settings_of_other_releases_are_known() {
    let text = "version: 0.1\nstorage: {inmemory: ~, cache: {layerinfo: redis}}\nredis: {addr: 'a:1', pool: {maxidle: 1}, tls: {enabled: true}}\n\
                compatibility: {schema1: {enabled: true}}\nreporting: {bugsnag: {apikey: k}}\n";
    let told = "these settings have no effect in this version yet: compatibility, reporting";
    assert_eq!(warnings(&Config::load(text, []).unwrap()), [told]);
}

#[test]
fn only_version_0_1_is_read() {
    let told = |text: &str| Config::load(text, []).unwrap_err().to_string();
    assert_eq!(
        told("version: 0.2\nhttp: 1\n"),
        "version (line 1): \"0.2\" is an unsupported version; write 0.1"
    );
    assert!(told("").contains("unsupported version: there is none"));
    assert!(told("storage: inmemory\n").contains("unsupported version"));
}

#[test]
fn keys_are_shown_on_one_line_and_command_no_terminal() {
    let text = "version: 0.1\nstorage: inmemory\n\"\\e[31mred\\n\\u202e\\\"'\": 1\n";
    let loaded = Config::load(text, []).unwrap();
    let said: Vec<String> = loaded.warnings.iter().map(ToString::to_string).collect();
    let key = r#"\u{1b}[31mred\n\u{202e}"' (line 3): "#;
    assert!(said.iter().any(|line| line.starts_with(key)), "{said:?}");
    let text = format!(
        "version: 0.1\nstorage: {{inmemory: {{\"{}\": 1}}}}\n",
        "k".repeat(5000)
    );
    let loaded = Config::load(&text, []).unwrap();
    assert!(
        loaded
            .warnings
            .iter()
            .all(|line| line.to_string().len() < 500)
    );
    let text = "version: 0.1\nstorage: {\"\\e[31mred\": {}}\n";
    let mistakes = Config::load(text, []).unwrap_err().to_string();
    assert!(!mistakes.contains('\u{1b}'), "{mistakes:?}");
}

#[test]
fn broken_yaml_is_one_mistake_with_its_line() {
    let told = Config::load("version: 0.1\nhttp: [\n", []).unwrap_err();
    assert_eq!(told.mistakes.len(), 1);
    assert_eq!(told.mistakes[0].key, "configuration");
}

#[test]
fn pages_have_the_references_sizes() {
    let load = |text: &str| {
        let loaded = Config::load(&format!("version: 0.1\nstorage: inmemory\n{text}\n"), []);
        loaded.map(|loaded| (loaded.config.catalog_max_entries, loaded.config.tags_max))
    };
    assert_eq!(load("catalog: {maxentries: 0}").unwrap(), (1000, 1000));
    assert_eq!(
        load("catalog: {maxentries: -5}\ntags: {maxtags: 0}").unwrap(),
        (1000, 1000)
    );
    assert_eq!(
        load("catalog: {maxentries: 7}\ntags: {maxtags: 8}").unwrap(),
        (7, 8)
    );
    assert!(load("tags: {maxtags: -1}").is_err());
}

#[test]
fn the_old_name_of_the_level_yields_to_the_new_one() {
    let level = |text: &str| {
        let loaded = Config::load(&format!("version: 0.1\nstorage: inmemory\n{text}\n"), []);
        loaded.unwrap().config.log.level
    };
    assert_eq!(level("loglevel: debug"), LogLevel::Debug);
    assert_eq!(
        level("loglevel: debug\nlog: {level: error}"),
        LogLevel::Error
    );
}

#[test]
fn the_path_is_the_argument_then_the_variable_then_where_the_images_have_it() {
    let variables = pairs(&[("REGISTRY_CONFIGURATION_PATH", "/variable.yml")]);
    let argument = Some(PathBuf::from("/argument.yml"));
    let place =
        |argument: &Option<PathBuf>, variables: &[(String, String)], called, there: &[&str]| {
            let look = |path: &Path, _: &Path| {
                let is_there = there.iter().any(|there| path == Path::new(there));
                if is_there { Lies::Own } else { Lies::Nothing }
            };
            config_path(argument.clone(), variables.to_vec(), called, look)
                .unwrap()
                .map(|path| path.display().to_string())
        };
    let (v2, v3) = (
        "/etc/docker/registry/config.yml",
        "/etc/distribution/config.yml",
    );
    let empty = pairs(&[("REGISTRY_CONFIGURATION_PATH", "")]);
    for called in [CalledAs::Roadstead, CalledAs::Registry] {
        let first = place(&argument, &variables, called, &[v2, v3]);
        assert_eq!(first.as_deref(), Some("/argument.yml"));
        let second = place(&None, &variables, called, &[v2, v3]);
        assert_eq!(second.as_deref(), Some("/variable.yml"));
        assert_eq!(place(&None, &empty, called, &[]), None);
    }
    assert_eq!(place(&None, &empty, CalledAs::Roadstead, &[v2, v3]), None);
    let third = |there: &[&str]| place(&None, &[], CalledAs::Registry, there);
    assert_eq!(third(&[v3]).as_deref(), Some(v3));
    assert_eq!(third(&[v2]).as_deref(), Some(v2));
}

#[test]
fn of_an_image_s_two_files_the_operator_s_own_counts() {
    let (v2, v3) = (
        "/etc/docker/registry/config.yml",
        "/etc/distribution/config.yml",
    );
    let place = |of_v2, of_v3| {
        let look = |path: &Path, shipped: &Path| {
            assert!(shipped.starts_with("/usr/share/roadstead"));
            if path == Path::new(v2) { of_v2 } else { of_v3 }
        };
        let found = config_path(None, [], CalledAs::Registry, look)?;
        Ok(found.map(|path| path.display().to_string()))
    };
    let at = |path: &str| Ok(Some(path.to_owned()));
    // What the image starts with: deletion is off.
    assert_eq!(place(Lies::AsShipped, Lies::AsShipped), at(v2));
    assert_eq!(place(Lies::Own, Lies::AsShipped), at(v2));
    assert_eq!(place(Lies::AsShipped, Lies::Own), at(v3));
    assert_eq!(place(Lies::Nothing, Lies::AsShipped), at(v3));
    assert_eq!(place(Lies::Nothing, Lies::Nothing), Ok(None));
    let both = place(Lies::Own, Lies::Own);
    assert_eq!(both, Err(TwoConfigurations));
    let told = TwoConfigurations.to_string();
    assert!(told.contains(v2) && told.contains(v3), "{told}");
}

#[test]
fn the_programs_name_is_the_last_part_of_its_path() {
    assert_eq!(CalledAs::of(Path::new("/bin/registry")), CalledAs::Registry);
    assert_eq!(CalledAs::of(Path::new("registry")), CalledAs::Registry);
    for own in ["roadstead", "/registry/roadstead", "", "/"] {
        assert_eq!(CalledAs::of(Path::new(own)), CalledAs::Roadstead);
    }
}

#[test]
fn mistakes_can_cross_threads_as_errors() {
    fn error<T: std::error::Error + Send + Sync + 'static>() {}
    error::<crate::Mistakes>();
}
