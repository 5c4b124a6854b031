use std::{
    io,
    mem::MaybeUninit,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::ReadBuf;

use super::Stream;

/// How many bytes are read at a time, and how many are kept at most while the other side takes
/// none.
const BUFFER_BYTES: usize = 64 * 1024;
/// How often a direction reads before others have their turn.
const MAX_READS: usize = 16;

/// One direction of a relayed connection: reads from one side and writes to the other.
///
/// It reads into a buffer on the stack, and keeps bytes only while the other side does not take
/// them. So a connection without traffic has no buffer.
pub(super) struct Direction {
    state: State,
    /// Bytes that were read and not written. Nothing more is read meanwhile.
    left: Vec<u8>,
    written_of_left: usize,
    needs_flush: bool,
    /// Bytes that were written to the other side.
    written: u64,
    /// Bytes that were read, which shows that the connection is in use.
    read: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Copying,
    /// The reader has ended, and the writer has to learn it.
    ShuttingDown,
    Ended,
    Failed,
}

/// Which side of a direction has failed.
#[derive(Debug)]
pub(super) enum Failed {
    Reader(io::Error),
    Writer(io::Error),
}

impl Direction {
    /// Creates a direction that first writes `ahead`.
    pub(super) fn new(ahead: Vec<u8>) -> Self {
        Self {
            state: State::Copying,
            read: ahead.len() as u64,
            left: ahead,
            written_of_left: 0,
            needs_flush: false,
            written: 0,
        }
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Returns a number that changes whenever a byte moves, and when the direction is over.
    pub(super) fn moved(&self) -> u64 {
        self.read + self.written + u64::from(self.is_over())
    }

    /// Returns true if the direction has ended or failed.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed)
    }

    /// Treats a reader that has failed as one that has ended.
    pub(super) fn end_reader(&mut self) {
        self.state = State::ShuttingDown;
    }

    /// Copies until the reader ends and the writer knows it, or until one of them fails. Returns
    /// each failure once.
    pub(super) fn poll<R: Stream + ?Sized, W: Stream + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<Result<(), Failed>> {
        let polled = self.poll_copy(cx, reader, writer);
        if let Poll::Ready(Err(_)) = polled {
            self.state = State::Failed;
            self.left = Vec::new();
        }
        polled
    }

    fn poll_copy<R: Stream + ?Sized, W: Stream + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Poll<Result<(), Failed>> {
        let mut reads = 0;
        loop {
            match self.state {
                State::Copying => {
                    ready!(self.poll_left(cx, writer)).map_err(Failed::Writer)?;
                    if reads == MAX_READS {
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    reads += 1;
                    match self.poll_step(cx, reader, writer)? {
                        Poll::Ready(()) => {}
                        Poll::Pending => {
                            if self.needs_flush && self.left.is_empty() {
                                ready!(Pin::new(&mut *writer).poll_flush(cx))
                                    .map_err(Failed::Writer)?;
                                self.needs_flush = false;
                            }
                            return Poll::Pending;
                        }
                    }
                }
                State::ShuttingDown => {
                    ready!(Pin::new(&mut *writer).poll_shutdown(cx)).map_err(Failed::Writer)?;
                    self.state = State::Ended;
                }
                State::Ended | State::Failed => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Writes what the writer has not taken before.
    fn poll_left<W: Stream + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        writer: &mut W,
    ) -> Poll<io::Result<()>> {
        if self.left.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written_of_left < self.left.len() {
            let rest = &self.left[self.written_of_left..];
            let length = ready!(poll_write(cx, writer, rest))?;
            self.written_of_left += length;
            self.wrote(length);
        }
        self.left = Vec::new();
        self.written_of_left = 0;
        Poll::Ready(Ok(()))
    }

    /// Reads once, and writes as much of it as the writer takes.
    fn poll_step<R: Stream + ?Sized, W: Stream + ?Sized>(
        &mut self,
        cx: &mut Context<'_>,
        reader: &mut R,
        writer: &mut W,
    ) -> Result<Poll<()>, Failed> {
        let mut space = [const { MaybeUninit::uninit() }; BUFFER_BYTES];
        let mut buffer = ReadBuf::uninit(&mut space);
        match Pin::new(reader).poll_read(cx, &mut buffer) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(result) => result.map_err(Failed::Reader)?,
        }
        let mut rest = buffer.filled();
        self.read += rest.len() as u64;
        if rest.is_empty() {
            self.state = State::ShuttingDown;
            return Ok(Poll::Ready(()));
        }
        while !rest.is_empty() {
            match poll_write(cx, writer, rest) {
                Poll::Ready(written) => {
                    let length = written.map_err(Failed::Writer)?;
                    self.wrote(length);
                    rest = &rest[length..];
                }
                Poll::Pending => {
                    self.left = rest.to_vec();
                    return Ok(Poll::Pending);
                }
            }
        }
        Ok(Poll::Ready(()))
    }

    fn wrote(&mut self, length: usize) {
        self.written += length as u64;
        self.needs_flush = true;
    }
}

fn poll_write<W: Stream + ?Sized>(
    cx: &mut Context<'_>,
    writer: &mut W,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(writer).poll_write(cx, bytes)) {
        Ok(0) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        result => Poll::Ready(result),
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[tokio::test]
    async fn bytes_arrive_in_order_and_their_end_after_them() {
        let (mut client, mut reader) = duplex(1 << 20);
        // A writer that takes little at a time.
        let (mut writer, mut target) = duplex(1000);
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        client.write_all(&bytes).await.unwrap();
        client.shutdown().await.unwrap();
        let mut direction = Direction::new(b"ahead".to_vec());
        let copy = poll_fn(|cx| direction.poll(cx, &mut reader, &mut writer));
        let mut received = Vec::new();
        let (copied, read) = tokio::join!(copy, target.read_to_end(&mut received));
        copied.unwrap();
        read.unwrap();
        assert_eq!(&received[..5], b"ahead");
        assert!(received[5..] == bytes);
        assert_eq!(direction.written(), 300_005);
        assert!(direction.is_over());
    }

    #[tokio::test]
    async fn a_writer_that_is_gone_has_failed() {
        let (mut client, mut reader) = duplex(100);
        let (mut writer, target) = duplex(100);
        drop(target);
        client.write_all(b"lost").await.unwrap();
        let mut direction = Direction::new(Vec::new());
        let copied = poll_fn(|cx| direction.poll(cx, &mut reader, &mut writer)).await;
        assert!(matches!(copied, Err(Failed::Writer(_))), "{copied:?}");
        assert!(direction.is_over());
    }
}
