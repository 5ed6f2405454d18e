//! What a peer receives of files, and of files that are not what they were.

use std::io::{Seek as _, Write as _};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;

use super::*;

fn file(content: &[u8]) -> Arc<File> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(content).unwrap();
    // Where the file stands is nobody's business.
    file.rewind().unwrap();
    Arc::new(file)
}

fn pair() -> (Sending, UnixStream) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    (Sending::new(Stream::Unix(ours)), theirs)
}

/// As an HTTP server writes a buffer.
async fn write(sending: &mut Sending, mut buffer: impl Buf) -> io::Result<()> {
    while buffer.has_remaining() {
        let written = std::future::poll_fn(|context| {
            let mut slices = [IoSlice::new(&[]); 8];
            let count = buffer.chunks_vectored(&mut slices);
            Pin::new(&mut *sending).poll_write_vectored(context, &slices[..count])
        });
        let written = written.await?;
        buffer.advance(written);
    }
    sending.flush().await
}

#[tokio::test]
async fn parts_and_memory_arrive_in_order_whatever_the_socket_takes_at_once() {
    let content: Vec<u8> = (0..3_000_000_u32).flat_map(u32::to_le_bytes).collect();
    let (mut sending, mut peer) = pair();
    let files = sending.files();
    let (file, expected) = (file(&content), content.clone());
    let writing = tokio::spawn(async move {
        let head: &[u8] = b"head";
        let first = files.part(&file, 1, 5_000_000);
        let second = files.part(&file, 5_000_001, content.len() - 5_000_001);
        let tail: &[u8] = b"tail";
        write(
            &mut sending,
            Buf::chain(Buf::chain(head, first), Buf::chain(second, tail)),
        )
        .await
        .unwrap();
        assert!(files.are_none(), "what was sent is let go");
    });
    let mut came = Vec::new();
    peer.read_to_end(&mut came).await.unwrap();
    writing.await.unwrap();
    assert!(came == [b"head", &expected[1..], b"tail"].concat());
}

#[tokio::test]
async fn a_file_that_was_truncated_is_an_error() {
    let (mut sending, mut peer) = pair();
    let file = file(b"0123456789");
    let part = sending.files().part(&file, 0, 10);
    file.set_len(4).unwrap();
    let error = write(&mut sending, part).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    drop(sending);
    let mut came = String::new();
    peer.read_to_string(&mut came).await.unwrap();
    assert_eq!(came, "0123", "and nothing that was not in it");
}

#[tokio::test]
async fn who_takes_a_part_for_memory_comes_to_an_end_and_sends_nothing_more() {
    let (mut sending, mut peer) = pair();
    let mut part = sending.files().part(&file(b"0123456789"), 0, 10);
    let copied = part.copy_to_bytes(part.remaining());
    assert_eq!(copied.len(), 10);
    assert!(sending.write_all(&copied).await.is_err());
    drop(sending);
    let mut came = String::new();
    peer.read_to_string(&mut came).await.unwrap();
    assert_eq!(came, "");
}
