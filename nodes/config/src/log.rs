//! `log`: what is logged, how it looks, and what each line carries.

use crate::reader::Reader;
use crate::scalar::{self, Unfit};
use crate::secret::Secret;

/// Settings under `log`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged: `log.level`, or `loglevel` as it was once called.
    pub level: LogLevel,
    /// How a line looks.
    pub formatter: Formatter,
    /// Added to each line, in the order of the file.
    pub fields: Vec<(String, String)>,
    /// No access log; the rest of the log is not affected. Default: false.
    pub access_log_disabled: bool,
    /// Each line names the place in the source that it comes from: `reportcaller`. Default: false.
    pub report_caller: bool,
    /// Who is mailed about lines. Without those that are `disabled`.
    pub hooks: Vec<MailHook>,
}

/// An item of `log.hooks`: lines of some levels are mailed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MailHook {
    /// Which lines: `levels`. None, if it is empty.
    pub levels: Vec<HookLevel>,
    /// The server's name or address, of `options.smtp.addr`.
    pub host: String,
    /// And its port.
    pub port: u16,
    /// Who logs in to it: `options.smtp.username`. Default: nobody.
    pub username: Option<String>,
    /// With this: `options.smtp.password`.
    pub password: Option<Secret>,
    /// The server's certificate is not verified: `options.smtp.insecure`. Default: false.
    pub insecure: bool,
    /// The sender: `options.from`, as `name@domain`.
    pub from: String,
    /// Who gets it: `options.to`. Never empty.
    pub to: Vec<String>,
}

/// The level of a line, with those that the reference's library has beside [`LogLevel`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookLevel {
    /// The process fails.
    Panic,
    /// The process ends.
    Fatal,
    /// Something failed.
    Error,
    /// Something may fail later.
    Warn,
    /// Something happened.
    Info,
    /// How it happened.
    Debug,
    /// In every detail.
    Trace,
}

const HOOK_LEVELS: &[(&str, HookLevel)] = &[
    ("panic", HookLevel::Panic),
    ("fatal", HookLevel::Fatal),
    ("error", HookLevel::Error),
    ("warn", HookLevel::Warn),
    ("warning", HookLevel::Warn),
    ("info", HookLevel::Info),
    ("debug", HookLevel::Debug),
    ("trace", HookLevel::Trace),
];

/// How severe a line must be to be logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogLevel {
    /// Something failed.
    Error,
    /// And what may fail later.
    Warn,
    /// And what happens: enough to follow the work, little enough to keep.
    #[default]
    Info,
    /// And how it happens.
    Debug,
}

/// How a line looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Formatter {
    /// `key=value`, for eyes.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// JSON with the names that Logstash expects.
    Logstash,
}

const LEVELS: &[(&str, LogLevel)] = &[
    ("error", LogLevel::Error),
    ("warn", LogLevel::Warn),
    ("info", LogLevel::Info),
    ("debug", LogLevel::Debug),
];

const FORMATTERS: &[(&str, Formatter)] = &[
    ("text", Formatter::Text),
    ("json", Formatter::Json),
    ("logstash", Formatter::Logstash),
];

impl Log {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let default = Self::default();
        let level = |text: &str| scalar::one_of(text, LEVELS);
        let formatter = |text: &str| scalar::one_of(text, FORMATTERS);
        let old_level = reader.read("loglevel", level);
        Self {
            level: reader
                .read("log.level", level)
                .or(old_level)
                .unwrap_or(default.level),
            formatter: reader
                .read("log.formatter", formatter)
                .unwrap_or(default.formatter),
            fields: fields(reader),
            access_log_disabled: reader
                .read("log.accesslog.disabled", scalar::boolean)
                .unwrap_or(default.access_log_disabled),
            report_caller: reader
                .read("log.reportcaller", scalar::boolean)
                .unwrap_or(default.report_caller),
            hooks: reader.each("log.hooks", MailHook::read),
        }
    }
}

impl MailHook {
    /// `None` for one that is disabled, which need not be complete.
    fn read(hook: &mut Reader<'_>) -> Option<Self> {
        let disabled = hook.read("disabled", scalar::boolean) == Some(true);
        let kind = hook.read("type", |text| scalar::one_of(text, &[("mail", ())]));
        let levels = hook.list("levels", |text| scalar::one_of(text, HOOK_LEVELS));
        let insecure = hook.read("options.smtp.insecure", scalar::boolean);
        let mut has_to = false;
        let to = hook.list("options.to", |text| {
            has_to = true;
            mail_address(text)
        });
        if disabled {
            return None;
        }
        if kind.is_none() && !hook.below("type").is_set() {
            hook.missing("type", "the one there is, is mail");
        }
        if !has_to {
            hook.missing("options.to", "write who gets the mails");
        }
        let addr = hook.required("options.smtp.addr", "write host and port", host_and_port);
        let from = hook.required("options.from", "write the sender", mail_address);
        if !hook.below("levels").is_set() {
            hook.remark("levels", "names no level: nothing is mailed");
        }
        kind?;
        let (host, port) = addr?;
        Some(Self {
            levels,
            host,
            port,
            username: hook.text("options.smtp.username"),
            password: hook.secret("options.smtp.password"),
            insecure: insecure.unwrap_or_default(),
            from: from?,
            to,
        })
    }
}

fn host_and_port(text: &str) -> Result<(String, u16), Unfit> {
    let unfit = || Unfit::new("is not host:port, such as mail.example.com:587");
    let (host, port) = text.rsplit_once(':').ok_or_else(unfit)?;
    let port = port.parse().map_err(|_not_a_port| unfit())?;
    let bare = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'));
    match bare.unwrap_or(host) {
        host if host.is_empty() || (bare.is_none() && host.contains(':')) => Err(unfit()),
        host => Ok((host.to_owned(), port)),
    }
}

/// Enough to tell an address from something else; who sends the mail looks closer.
fn mail_address(text: &str) -> Result<String, Unfit> {
    let is_plain = !text.contains(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | ','));
    match text.rsplit_once('@') {
        Some((name, domain)) if is_plain && !name.is_empty() && !domain.is_empty() => {
            Ok(text.to_owned())
        }
        _ => Err(Unfit::new("is not an address such as name@example.com")),
    }
}

fn fields(reader: &Reader<'_>) -> Vec<(String, String)> {
    let entries = reader
        .node("log.fields")
        .map_or(&[][..], |map| map.entries());
    entries
        .iter()
        .map(|(name, value)| (name.clone(), value.text().unwrap_or_default().to_owned()))
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::Config;

    fn mistakes(hook: &str) -> Vec<String> {
        let text = format!("version: 0.1\nstorage: inmemory\nlog:\n  hooks: [{{{hook}}}]\n");
        let told = Config::load(&text, []).map_or_else(|refused| refused.mistakes, |_| Vec::new());
        told.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_hook_says_whom_to_mail_unless_it_is_disabled() {
        let expected = [
            "log.hooks[0].type (line 4): is missing; the one there is, is mail",
            "log.hooks[0].options.to (line 4): is missing; write who gets the mails",
            "log.hooks[0].options.smtp.addr (line 4): is missing; write host and port",
            "log.hooks[0].options.from (line 4): is missing; write the sender",
        ];
        assert_eq!(mistakes("disabled: false"), expected);
        assert_eq!(mistakes("disabled: true"), Vec::<String>::new());
    }

    #[test]
    fn words_of_a_hook_are_checked() {
        let told = mistakes("disabled: true, type: fax, levels: [panik]");
        let expected = [
            "log.hooks[0].type (line 4): \"fax\" is not one of mail",
            "log.hooks[0].levels[0] (line 4): \"panik\" is not one of panic, fatal, error, warn, warning, \
             info, debug, trace; did you mean panic?",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn addresses_of_a_hook_are_checked() {
        let hook = |addr: &str, from: &str| {
            let told = mistakes(&format!(
                "type: mail, options: {{smtp: {{addr: '{addr}'}}, from: '{from}', to: ['{from}']}}"
            ));
            told.concat()
        };
        for addr in ["mail:25", "192.0.2.1:587", "[2001:db8::1]:25"] {
            assert_eq!(hook(addr, "registry@localhost"), "");
        }
        for addr in [
            "mail",
            "mail:smtp",
            ":25",
            "[]:25",
            "2001:db8::1:25",
            "mail:65536",
        ] {
            let told = hook(addr, "a@b");
            assert!(
                told.contains("options.smtp.addr") && told.contains("host:port"),
                "{told}"
            );
        }
        for from in ["registry", "@b", "a@", "Registry <a@b>", "a@b, c@d"] {
            let told = hook("mail:25", from);
            assert!(
                told.contains("options.from") && told.contains("options.to[0]"),
                "{told}"
            );
        }
    }

    #[test]
    fn a_password_of_the_wrong_shape_is_not_repeated() {
        let told = mistakes("disabled: true, options: {smtp: {password: [hunter2]}}").concat();
        assert!(told.contains("a list stands here"), "{told}");
        assert!(!told.contains("hunter2"), "{told}");
    }
}
