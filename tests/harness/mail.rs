//! A mail server on a port of its own: as much of SMTP as one client needs.

use std::io::{BufRead as _, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::PrivateKeyDer;

/// A client that says nothing for so long is gone.
const PATIENCE: Duration = Duration::from_mins(1);

/// How it treats who connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// Takes every mail.
    Takes,
    /// Is not able to take one now: 451.
    Fails,
    /// Does not take one, now or later: 550.
    Refuses,
    /// Accepts connections, and says nothing.
    IsSilent,
}

/// A mail that it took.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    /// `user`, NUL, `password`, if the client logged in.
    pub login: Option<String>,
    pub encrypted: bool,
    /// With the headers; each line ends with a line feed.
    pub text: String,
}

impl Mail {
    /// The value of a header that is there, with its continuations.
    #[track_caller]
    pub fn header(&self, name: &str) -> String {
        let (head, _) = self.text.split_once("\n\n").expect("an empty line");
        let unfolded = head.replace("\n ", " ");
        let mut lines = unfolded.lines();
        let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        value
            .unwrap_or_else(|| panic!("{name} in {head}"))
            .to_owned()
    }

    /// As it was before it was made fit for the way: a duration in microseconds is not ASCII.
    #[track_caller]
    pub fn body(&self) -> String {
        let (_, body) = self.text.split_once("\n\n").expect("an empty line");
        match self.header("Content-Transfer-Encoding").as_str() {
            "7bit" | "8bit" => body.to_owned(),
            "quoted-printable" => unquoted(body),
            other => panic!("an encoding that is not known here: {other}"),
        }
    }
}

/// RFC 2045, section 6.7.
#[track_caller]
fn unquoted(text: &str) -> String {
    let whole = text.replace("=\n", "");
    let mut parts = whole.split('=');
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (hex, rest) = part.split_at_checked(2).expect("two digits after =");
        bytes.push(u8::from_str_radix(hex, 16).expect("two digits after ="));
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).expect("UTF-8")
}

#[derive(Debug)]
struct Shared {
    ends: AtomicBool,
    manner: Mutex<Manner>,
    /// Where STARTTLS is offered.
    tls: Option<Arc<ServerConfig>>,
}

/// A server on `127.0.0.1`, until it is dropped.
#[derive(Debug)]
pub struct MailServer {
    addr: SocketAddr,
    shared: Arc<Shared>,
    mails: mpsc::Receiver<Mail>,
    accepting: Option<JoinHandle<()>>,
    certificate: String,
}

impl MailServer {
    /// One that does not know TLS.
    #[track_caller]
    pub fn plain(manner: Manner) -> Self {
        Self::start(manner, None, String::new())
    }

    /// One that offers STARTTLS, and logins after it.
    #[track_caller]
    pub fn with_tls() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a pair");
        Self::start(Manner::Takes, Some(Arc::new(config)), cert.pem())
    }

    #[track_caller]
    fn start(manner: Manner, tls: Option<Arc<ServerConfig>>, certificate: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("its number");
        let shared = Arc::new(Shared {
            ends: AtomicBool::new(false),
            manner: Mutex::new(manner),
            tls,
        });
        let (send, mails) = mpsc::channel();
        let serving = Arc::clone(&shared);
        let accepting = std::thread::spawn(move || {
            for stream in listener.incoming().filter_map(Result::ok) {
                if serving.ends.load(Ordering::Relaxed) {
                    return;
                }
                let (shared, send) = (Arc::clone(&serving), send.clone());
                // A client that goes away is its own affair.
                std::thread::spawn(move || drop(serve(stream, &shared, &send)));
            }
        });
        Self {
            addr,
            shared,
            mails,
            accepting: Some(accepting),
            certificate,
        }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its own certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// From the next connection on.
    pub fn now(&self, manner: Manner) {
        *self.shared.manner.lock().expect("a lock") = manner;
    }

    /// The next mail that it took, waiting for it.
    #[track_caller]
    pub fn next(&self, within: Duration) -> Mail {
        self.mails.recv_timeout(within).expect("a mail")
    }

    /// The mails that it took and that nobody asked for.
    pub fn rest(&self) -> Vec<Mail> {
        self.mails.try_iter().collect()
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.shared.ends.store(true, Ordering::Relaxed);
        // It waits for a connection: this is the last one.
        drop(TcpStream::connect(self.addr));
        if let Some(accepting) = self.accepting.take() {
            let _ended = accepting.join();
        }
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, send: &mpsc::Sender<Mail>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let manner = *shared.manner.lock().expect("a lock");
    if manner == Manner::IsSilent {
        // Until the client has had enough.
        let mut nothing = Vec::new();
        return stream.read_to_end(&mut nothing).map(drop);
    }
    stream.write_all(b"220 test\r\n")?;
    let mut session = Session {
        manner,
        offers_tls: shared.tls.is_some(),
        mail: Mail::default(),
        send,
    };
    let Some(tls) = &shared.tls else {
        return session.talk(stream).map(drop);
    };
    if !session.talk(stream.try_clone()?)? {
        return Ok(());
    }
    let connection = ServerConnection::new(Arc::clone(tls)).map_err(std::io::Error::other)?;
    session.offers_tls = false;
    session.mail.encrypted = true;
    session.talk(StreamOwned::new(connection, stream)).map(drop)
}

struct Session<'a> {
    manner: Manner,
    offers_tls: bool,
    mail: Mail,
    send: &'a mpsc::Sender<Mail>,
}

impl Session<'_> {
    /// Until the client goes, or wants TLS: then true. A client waits for the answer before it begins with TLS, so nothing
    /// of that was read.
    fn talk(&mut self, stream: impl Read + Write) -> std::io::Result<bool> {
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        loop {
            line.clear();
            if stream.read_line(&mut line)? == 0 {
                return Ok(false);
            }
            let line = line.trim_end();
            let answer = match line.split([' ', ':']).next().unwrap_or_default() {
                "EHLO" if self.offers_tls => "250-test\r\n250 STARTTLS\r\n",
                "EHLO" => "250-test\r\n250 AUTH PLAIN\r\n",
                "STARTTLS" => {
                    stream.get_mut().write_all(b"220 go\r\n")?;
                    return Ok(true);
                }
                "AUTH" => self.log_in(line),
                "MAIL" => self.begin(line),
                "RCPT" => {
                    self.mail.to.push(within_brackets(line));
                    "250 ok\r\n"
                }
                "DATA" => {
                    stream.get_mut().write_all(b"354 go\r\n")?;
                    self.mail.text = data(&mut stream)?;
                    let _test_over = self.send.send(self.mail.clone());
                    "250 ok\r\n"
                }
                "QUIT" => "221 bye\r\n",
                _ => "502 what\r\n",
            };
            stream.get_mut().write_all(answer.as_bytes())?;
            stream.get_mut().flush()?;
        }
    }

    fn log_in(&mut self, line: &str) -> &'static str {
        let given = line.rsplit(' ').next().unwrap_or_default();
        let login = BASE64.decode(given).expect("base64");
        let login = String::from_utf8(login).expect("text");
        self.mail.login = Some(login.trim_start_matches('\0').to_owned());
        "235 ok\r\n"
    }

    fn begin(&mut self, line: &str) -> &'static str {
        self.mail.from = within_brackets(line);
        self.mail.to.clear();
        match self.manner {
            Manner::Fails => "451 not now\r\n",
            Manner::Refuses => "550 never\r\n",
            Manner::Takes | Manner::IsSilent => "250 ok\r\n",
        }
    }
}

fn within_brackets(line: &str) -> String {
    let address = line.split(['<', '>']).nth(1);
    address.expect("an address in brackets").to_owned()
}

/// Up to the line with nothing but a dot.
fn data(stream: &mut impl std::io::BufRead) -> std::io::Result<String> {
    let mut text = String::new();
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        match line.trim_end_matches(['\r', '\n']) {
            "." => return Ok(text),
            line => {
                text.push_str(line.strip_prefix('.').unwrap_or(line));
                text.push('\n');
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoted_text_is_read() {
        assert_eq!(unquoted("a=3Db =C2=\n=B5s\n=09\n"), "a=b \u{b5}s\n\t\n");
    }
}
