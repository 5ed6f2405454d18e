//! Where logs go: standard error, in the reference's forms or, on a terminal, one for people.

use std::io::Write as _;
use std::time::Duration;

use anyhow::{Context as _, Error, Result};
use roadstead_config::{Formatter, HookLevel, Log, LogLevel, MailHook, trace_collector};
use roadstead_telemetry::log::{
    Format, Identity, Level, Log as Lines, Options, start as start_log,
};
use roadstead_telemetry::mails::{Level as MailLevel, Mails, Options as MailOptions};
use roadstead_telemetry::traces::{Options as TraceOptions, Traces};

/// An output, or a collector, that takes nothing any more gets this long for the last of it.
pub(crate) const LAST_LINES_WITHIN: Duration = Duration::from_secs(5);

/// What was started: [`Logging::finish`] sends off what waits.
pub(crate) struct Logging {
    pub(crate) lines: Lines,
    traces: Option<Traces>,
}

impl Logging {
    /// Blocks until the last line, mail and trace are out, or nobody takes them. Comes last: what is logged later is lost.
    /// `failed`: why the process ends, which is mailed where that is asked for.
    pub(crate) fn finish(self, failed: Option<&Error>) {
        if let Some(error) = failed {
            self.lines.mail_fatal(&causes(error));
        }
        if let Some(traces) = self.traces {
            traces.finish(LAST_LINES_WITHIN);
        }
        self.lines.finish(LAST_LINES_WITHIN);
    }
}

/// Starts logging as the configuration says, with mails by these hooks, and tracing if the environment says where to.
/// `instance` names this process on each line.
pub(crate) fn start(log: &Log, hooks: &[MailHook], instance: &str) -> Result<Logging> {
    let identity = Identity {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: instance.to_owned(),
    };
    let traced = trace_collector().map(|collector| {
        let options = TraceOptions {
            endpoint: collector.endpoint,
            certificate: collector.certificate,
            service: "roadstead".to_owned(),
            identity: identity.clone(),
        };
        Traces::start(&options).context("OpenTelemetry")
    });
    let traces = traced.transpose()?;
    let options = Options {
        level: match log.level {
            LogLevel::Error => Level::Error,
            LogLevel::Warn => Level::Warn,
            LogLevel::Info => Level::Info,
            LogLevel::Debug => Level::Debug,
        },
        format: match log.formatter {
            // A terminal has its own, which nobody would ask for in a file.
            Formatter::Text => None,
            Formatter::Json => Some(Format::Json),
            Formatter::Logstash => Some(Format::Logstash),
        },
        fields: log.fields.clone(),
        report_caller: log.report_caller,
        logstash_type: None,
        identity,
    };
    let mails = hooks.iter().map(|hook| Mails::start(mailing(hook)));
    let mails = mails.collect::<Result<_, _>>().context("log.hooks")?;
    let lines = start_log(&options, traces.as_ref(), mails).context("the log")?;
    Ok(Logging { lines, traces })
}

fn mailing(hook: &MailHook) -> MailOptions {
    let level = |level: &HookLevel| match level {
        HookLevel::Panic => Some(MailLevel::Panic),
        HookLevel::Fatal => Some(MailLevel::Fatal),
        HookLevel::Error => Some(MailLevel::Error),
        HookLevel::Warn => Some(MailLevel::Warn),
        HookLevel::Info => Some(MailLevel::Info),
        HookLevel::Debug => Some(MailLevel::Debug),
        // No line is that detailed.
        HookLevel::Trace => None,
    };
    let password = hook.password.as_ref();
    let password = password.map_or_else(String::new, |secret| secret.expose().to_owned());
    MailOptions {
        levels: hook.levels.iter().filter_map(level).collect(),
        host: hook.host.clone(),
        port: hook.port,
        login: hook.username.clone().map(|user| (user, password)),
        insecure: hook.insecure,
        from: hook.from.clone(),
        to: hook.to.clone(),
    }
}

/// Says why the process ends. A closed standard error is no reason to fail differently.
pub(crate) fn fatal(error: &Error) {
    let _closed = writeln!(std::io::stderr(), "roadstead: {}", causes(error));
}

/// An error with all its causes, the nearest first.
pub(crate) fn causes(error: &Error) -> String {
    let mut causes = error.chain().map(ToString::to_string).collect::<Vec<_>>();
    causes.dedup();
    causes.join(": ")
}
