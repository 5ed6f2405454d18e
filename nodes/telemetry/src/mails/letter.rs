//! Subject and body, as the reference's hook has them.

use std::fmt::Write as _;

use crate::log::line::Line;

/// Of a subject: messages are as long as they like.
const LONGEST_SUBJECT: usize = 256;
/// Of a body: fields hold what strangers sent.
const LONGEST_BODY: usize = 32 * 1024;

/// A mail about one line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) subject: String,
    body: String,
}

impl Letter {
    /// `host` is the mail server's, as in the reference's subjects.
    pub(super) fn about(line: &Line<'_>, host: &str) -> Self {
        let level = line.severity.name();
        let mut subject = format!("[{level}] {host}: {}", line.message);
        cut(&mut subject, LONGEST_SUBJECT);
        // What follows a line end would be a header of its own.
        let subject = subject.replace(char::is_control, " ");
        let mut body = format!("\n\t{}\n\n\t", line.message);
        for (name, value) in &line.fields {
            // A `String` takes whatever is written to it.
            let _infallible = write!(body, "\n\t{name}: {value}\n\t");
        }
        body.push_str("\n\t");
        cut(&mut body, LONGEST_BODY);
        Self { subject, body }
    }

    /// The body, and how many lines were not mailed before.
    pub(super) fn body(&self, left_out: u64) -> String {
        match left_out {
            0 => self.body.clone(),
            _ => format!("{}\n\tnot mailed before this: {left_out}\n", self.body),
        }
    }
}

fn cut(text: &mut String, longest: usize) {
    if text.len() > longest {
        text.truncate(text.floor_char_boundary(longest));
        text.push('…');
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::log::line::{Severity, Value};

    fn letter(message: &str) -> Letter {
        let field = |name, value: &str| (Cow::Borrowed(name), Value::Text(value.into()));
        let line = Line {
            time: UNIX_EPOCH,
            severity: Severity::Warning,
            message,
            caller: None,
            fields: vec![field("instance.id", "one"), field("service", "registry")],
            own: &[],
        };
        Letter::about(&line, "mail.example")
    }

    #[test]
    fn subject_and_body_are_the_references() {
        let letter = letter("the disk is full");
        assert_eq!(letter.subject, "[warning] mail.example: the disk is full");
        let body =
            "\n\tthe disk is full\n\n\t\n\tinstance.id: one\n\t\n\tservice: registry\n\t\n\t";
        assert_eq!(letter.body(0), body);
        assert_eq!(
            letter.body(7),
            format!("{body}\n\tnot mailed before this: 7\n")
        );
    }

    #[test]
    fn a_message_stays_within_its_subject() {
        let forged = letter("a\r\nBcc: eve@example.com\r\n\r\nb");
        assert_eq!(
            forged.subject,
            "[warning] mail.example: a  Bcc: eve@example.com    b"
        );
        let long = letter(&"ä".repeat(LONGEST_BODY));
        assert!(long.subject.len() <= LONGEST_SUBJECT + "…".len());
        assert!(long.body(0).len() <= LONGEST_BODY + "…".len());
    }
}
