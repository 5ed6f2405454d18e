//! Sends letters by SMTP, one connection each.

use std::net::IpAddr;
use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{CertificateStore, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Message, SmtpTransport, Transport as _};

use super::letter::Letter;
use super::outbox::Outbox;
use super::{Error, Options};

/// A server that says nothing for so long has failed.
const TIMEOUT: Duration = Duration::from_secs(30);
/// Between two tries: at first, and at most. It doubles in between.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Who sends, from whom, to whom.
pub(super) struct Sender {
    server: SmtpTransport,
    /// A message without subject and body.
    message: MessageBuilder,
}

/// Why a mail did not leave.
enum Failed {
    /// A later try may do.
    Now(String),
    /// The server does not take this one.
    Ever(String),
}

impl Sender {
    pub(super) fn new(options: &Options) -> Result<Self, Error> {
        let mut message = Message::builder().from(mailbox(&options.from)?);
        for to in &options.to {
            message = message.to(mailbox(to)?);
        }
        let tls = |trusted| {
            TlsParameters::builder(options.host.clone())
                .certificate_store(trusted)
                .dangerous_accept_invalid_certs(options.insecure)
                .dangerous_accept_invalid_hostnames(options.insecure)
                .build()
        };
        // A system that trusts nobody (a container without certificates) may still mail where TLS is not offered.
        let tls = tls(CertificateStore::Default)
            .or_else(|_nobody| tls(CertificateStore::None))
            .map_err(Error::Tls)?;
        // A password must not cross a network in the clear, whatever the server says that it cannot do.
        let tls = if options.login.is_some() && !is_this_machine(&options.host) {
            Tls::Required(tls)
        } else {
            Tls::Opportunistic(tls)
        };
        // "builder_dangerous" since what it begins with is without TLS.
        let mut server = SmtpTransport::builder_dangerous(options.host.clone())
            .port(options.port)
            .tls(tls)
            .hello_name(ClientId::Domain("localhost".to_owned()))
            .timeout(Some(TIMEOUT));
        if let Some((user, password)) = &options.login {
            server = server.credentials(Credentials::new(user.clone(), password.clone()));
        }
        Ok(Self {
            server: server.build(),
            message,
        })
    }

    /// Until the outbox is finished, or is finishing and the server fails.
    pub(super) fn run(self, outbox: &Outbox) {
        let (mut fails, mut pause) = (false, FIRST_PAUSE);
        while let Some((letter, left_out)) = outbox.next() {
            match self.send(&letter, left_out) {
                Ok(()) => {
                    outbox.sent(left_out);
                    if fails {
                        tracing::info!("log.hooks: mails leave again");
                    }
                    (fails, pause) = (false, FIRST_PAUSE);
                }
                Err(failed) => {
                    let (Failed::Now(error) | Failed::Ever(error)) = &failed;
                    if !fails {
                        tracing::warn!(error, "log.hooks: mails do not leave");
                    }
                    fails = true;
                    match failed {
                        Failed::Ever(_) => outbox.lost(),
                        Failed::Now(_) if outbox.pause(pause) => {
                            pause = (pause * 2).min(LONGEST_PAUSE);
                        }
                        Failed::Now(_) => break,
                    }
                }
            }
        }
        outbox.close();
    }

    fn send(&self, letter: &Letter, left_out: u64) -> Result<(), Failed> {
        let message = self.message.clone().message_id(None);
        let message = message
            .subject(&letter.subject)
            .header(ContentType::TEXT_PLAIN)
            .body(letter.body(left_out))
            .map_err(|error| Failed::Ever(error.to_string()))?;
        match self.server.send(&message) {
            Ok(_) => Ok(()),
            Err(error) if is_final(&error) => Err(Failed::Ever(error.to_string())),
            Err(error) => Err(Failed::Now(error.to_string())),
        }
    }
}

fn mailbox(address: &str) -> Result<Mailbox, Error> {
    let parsed = address.parse();
    let email = parsed.map_err(|error| Error::Address(address.to_owned(), error))?;
    Ok(Mailbox { name: None, email })
}

/// Whether the server would say the same again.
fn is_final(error: &SmtpError) -> bool {
    error.is_permanent() || error.is_client() || error.is_response()
}

/// What is said to this machine itself crosses no network.
fn is_this_machine(host: &str) -> bool {
    let address = host.parse::<IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_may_be_told_a_password_in_the_clear() {
        for host in ["localhost", "127.0.0.1", "127.1.2.3", "::1"] {
            assert!(is_this_machine(host), "{host}");
        }
        for host in [
            "mail.example",
            "192.0.2.1",
            "localhost.example",
            "127.0.0.1.example",
        ] {
            assert!(!is_this_machine(host), "{host}");
        }
    }

    #[test]
    fn who_cannot_be_mailed_is_said_at_the_start() {
        let options = |from: &str| Options {
            levels: Vec::new(),
            host: "mail.example".to_owned(),
            port: 25,
            login: Some(("user".to_owned(), "hunter2".to_owned())),
            insecure: false,
            from: from.to_owned(),
            to: vec!["errors@example.com".to_owned()],
        };
        Sender::new(&options("registry@localhost")).expect("an address without a dot");
        let error = Sender::new(&options("a..b@@c")).err().expect("no address");
        assert_eq!(error.to_string(), "\"a..b@@c\" is no address for mails");
        assert!(!format!("{:?}", options("a@b")).contains("hunter2"));
    }
}
