//! From an event to a line: gathers the fields of the process, the spans and the event, and has them written and mailed.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::line::{Caller, Fields, Line, Severity, Value, settle};
use super::{Format, Options, Output, json, terminal, text, usual_format};
use crate::clock::Clock;
use crate::mails::Mails;

/// A buffer for lines keeps at most this between lines; a longer line's is given back.
const KEPT: usize = 16 * 1024;

thread_local! {
    /// Lines are put together here, so that a line costs no allocation for itself.
    static BUFFER: RefCell<String> = const { RefCell::new(String::new()) };
}

/// The fields of a span, for the lines within it.
struct SpanFields(Vec<(&'static str, Value)>);

/// Writes each event as a line.
pub(crate) struct Formatted {
    format: Format,
    report_caller: bool,
    logstash_type: Option<String>,
    /// The fields of the process, on each line.
    own: Vec<(Arc<str>, Value)>,
    clock: Clock,
    output: Output,
    mails: Arc<[Mails]>,
}

impl Formatted {
    pub(crate) fn new(
        options: &Options,
        clock: Clock,
        output: Output,
        mails: Arc<[Mails]>,
    ) -> Self {
        let identity = &options.identity;
        let rust = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
        let identity = [
            ("go.version", rust),
            ("instance.id", identity.instance.as_str()),
            ("version", identity.version.as_str()),
        ];
        let configured = options
            .fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()));
        let own = identity
            .into_iter()
            .chain(configured)
            .map(|(name, value)| (name.into(), Value::Text(value.into())))
            .collect();
        Self {
            format: options.format.unwrap_or_else(usual_format),
            report_caller: options.report_caller,
            logstash_type: options.logstash_type.clone(),
            own,
            clock,
            output,
            mails,
        }
    }

    /// Writes `line` in the configured form.
    fn write(&self, out: &mut String, line: &mut Line<'_>) {
        let callers = self.report_caller;
        let typed = self.logstash_type.is_some();
        match self.format {
            Format::Logstash => settle(&mut line.fields, |name| {
                json::is_reserved_by_logstash(name, callers, typed)
            }),
            Format::Text | Format::Json | Format::Terminal => {
                settle(&mut line.fields, |name| text::is_reserved(name, callers));
            }
        }
        match self.format {
            Format::Text => text::write(out, line),
            Format::Json => json::write(out, line, &json::LOGRUS, &[]),
            Format::Logstash => {
                let version = ("@version", "1");
                match &self.logstash_type {
                    None => json::write(out, line, &json::LOGSTASH, &[version]),
                    Some(kind) => {
                        json::write(out, line, &json::LOGSTASH, &[version, ("type", kind)]);
                    }
                }
            }
            Format::Terminal => terminal::write(out, line),
        }
    }

    /// Puts the line together and hands it over. The buffer is given up while it is written: whoever formats or writes
    /// may log itself.
    fn emit(&self, line: &mut Line<'_>) {
        let mut buffer = BUFFER
            .try_with(|kept| {
                kept.try_borrow_mut()
                    .map(|mut kept| std::mem::take(&mut *kept))
            })
            .ok()
            .and_then(Result::ok)
            .unwrap_or_default();
        buffer.clear();
        self.write(&mut buffer, line);
        (self.output)(&buffer);
        if buffer.capacity() <= KEPT {
            let _at_exit = BUFFER.try_with(|kept| {
                if let Ok(mut kept) = kept.try_borrow_mut() {
                    *kept = buffer;
                }
            });
        }
    }
}

impl fmt::Debug for Formatted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Formatted")
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl<S: Subscriber + for<'span> LookupSpan<'span>> Layer<S> for Formatted {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().replace(SpanFields(fields.named));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        if let Some(span) = context.span(id)
            && let Some(SpanFields(present)) = span.extensions_mut().get_mut::<SpanFields>()
        {
            let recorded = |name| fields.named.iter().any(|(again, _)| *again == name);
            present.retain(|(name, _)| !recorded(*name));
            present.append(&mut fields.named);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);

        let mut fields = self
            .own
            .iter()
            .map(|(name, value)| (Cow::Borrowed(&**name), value.clone()))
            .collect::<Vec<_>>();
        for span in context
            .event_scope(event)
            .into_iter()
            .flat_map(tracing_subscriber::registry::Scope::from_root)
        {
            if let Some(SpanFields(present)) = span.extensions().get::<SpanFields>() {
                let present = present.iter();
                fields.extend(present.map(|(name, value)| (Cow::Borrowed(*name), value.clone())));
            }
        }
        let named = own.named.into_iter();
        fields.extend(named.map(|(name, value)| (Cow::Borrowed(name), value)));

        let metadata = event.metadata();
        let caller = self.report_caller.then(|| Caller {
            module: metadata.module_path().unwrap_or_default(),
            file: metadata.file().unwrap_or_default(),
            line: metadata.line().unwrap_or_default(),
        });
        let mut line = Line {
            time: (self.clock)(),
            severity: Severity::of(metadata),
            message: &own.message,
            caller,
            fields,
            own: &self.own,
        };
        self.emit(&mut line);
        for mails in &*self.mails {
            mails.offer(&line);
        }
    }
}
