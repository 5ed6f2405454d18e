//! A way to a server that can be cut: bytes wait in it until it is mended, and nobody is told.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A port that leads to another.
#[derive(Debug)]
pub struct Cable {
    addr: SocketAddr,
    cut: Arc<Cut>,
}

#[derive(Debug, Default)]
struct Cut {
    is_cut: Mutex<bool>,
    mended: Condvar,
}

impl Cut {
    fn wait(&self) {
        let is_cut = self.is_cut.lock().unwrap_or_else(PoisonError::into_inner);
        let whole = self.mended.wait_while(is_cut, |is_cut| *is_cut);
        drop(whole.unwrap_or_else(PoisonError::into_inner));
    }

    fn set(&self, is_cut: bool) {
        *self.is_cut.lock().unwrap_or_else(PoisonError::into_inner) = is_cut;
        self.mended.notify_all();
    }
}

impl Cable {
    /// From a port of this address.
    ///
    /// # Panics
    /// When there is no port.
    #[track_caller]
    pub fn new(at: IpAddr, to: SocketAddr) -> Self {
        let listener = TcpListener::bind((at, 0)).expect("a port");
        let addr = listener.local_addr().expect("its address");
        let cut = Arc::new(Cut::default());
        let shared = Arc::clone(&cut);
        // Ends with the test's process, as all that are started below.
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let cut = Arc::clone(&shared);
                std::thread::spawn(move || connect(client, to, &cut));
            }
        });
        Self { addr, cut }
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn cut(&self) {
        self.cut.set(true);
    }

    pub fn mend(&self) {
        self.cut.set(false);
    }
}

/// A server that is not there is a connection that breaks.
fn connect(client: TcpStream, to: SocketAddr, cut: &Arc<Cut>) {
    cut.wait();
    let Ok(server) = TcpStream::connect(to) else {
        return;
    };
    let (Ok(from), Ok(back)) = (client.try_clone(), server.try_clone()) else {
        return;
    };
    let shared = Arc::clone(cut);
    std::thread::spawn(move || carry(from, server, &shared));
    carry(back, client, cut);
}

fn carry(mut from: TcpStream, mut to: TcpStream, cut: &Cut) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut piece);
        cut.wait();
        match read {
            Ok(0) => break,
            Ok(read) if to.write_all(&piece[..read]).is_ok() => {}
            _broken => {
                // Both ways: who is gone takes no answer.
                let _gone = from.shutdown(Shutdown::Both);
                let _gone = to.shutdown(Shutdown::Both);
                return;
            }
        }
    }
    let _gone = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn bytes_wait_while_it_is_cut() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = server.local_addr().expect("its address");
        let cable = Cable::new(to.ip(), to);
        let mut client = TcpStream::connect(cable.addr()).expect("a connection");
        let (mut served, _) = server.accept().expect("a connection");
        let mut byte = [0];
        client.write_all(b"a").expect("sent");
        served.read_exact(&mut byte).expect("it came");
        cable.cut();
        client.write_all(b"b").expect("sent");
        served
            .set_read_timeout(Some(Duration::from_millis(100)))
            .expect("a time-out");
        served.read_exact(&mut byte).expect_err("it waits");
        cable.mend();
        served.set_read_timeout(None).expect("no time-out");
        served.read_exact(&mut byte).expect("it came");
        assert_eq!(&byte, b"b");
        drop(client);
        assert_eq!(served.read(&mut byte).expect("the end"), 0);
    }
}
