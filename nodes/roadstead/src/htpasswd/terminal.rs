//! Asking for a password on the terminal, without showing what is typed.

use std::fs::File;
use std::io::{self, BufRead as _, BufReader, Write as _};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

/// A line from the process's terminal. Where it has none, from standard input, and the question goes to standard error.
/// Ctrl-C does not signal meanwhile, or the terminal would be left silent: it is U+0003 in the line.
pub(super) fn ask(prompt: &str) -> io::Result<String> {
    let Ok(terminal) = File::options().read(true).write(true).open("/dev/tty") else {
        write!(io::stderr(), "{prompt}")?;
        let mut line = String::new();
        io::stdin().lock().read_line(&mut line)?;
        writeln!(io::stderr())?;
        return Ok(without_end(&line));
    };
    let silent = Silent::new(&terminal)?;
    (&terminal).write_all(prompt.as_bytes())?;
    let mut line = String::new();
    BufReader::new(&terminal).read_line(&mut line)?;
    drop(silent);
    (&terminal).write_all(b"\n")?;
    Ok(without_end(&line))
}

fn without_end(line: &str) -> String {
    line.trim_end_matches(['\r', '\n']).to_owned()
}

/// A terminal that does not show what is typed, until this is dropped.
struct Silent<'a> {
    terminal: &'a File,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: &'a File) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ISIG);
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // A terminal that is gone cannot be given its echo back.
        let _gone = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
