//! A stream that is read no faster than a limit. Whatever a peer floods with, it waits in the peer's own buffers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::clock::SharedClock;

/// A byte stream whose reader keeps to a rate; the writer is untouched.
pub struct Paced<S> {
    stream: S,
    clock: SharedClock,
    bytes_per_second: u64,
    /// Bytes that may be read now, at most those of a second; below 0 after a read that was larger.
    credit: i64,
    refilled_at_ms: u64,
    pause: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<S> std::fmt::Debug for Paced<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Paced").field("credit", &self.credit).finish_non_exhaustive()
    }
}

impl<S> Paced<S> {
    /// With a second's worth of credit.
    pub fn new(stream: S, clock: SharedClock, bytes_per_second: u32) -> Self {
        let bytes_per_second = u64::from(bytes_per_second.max(1));
        let (credit, refilled_at_ms) = (i64::from(u32::MAX), clock.monotonic_ms());
        let mut paced = Self { stream, clock, bytes_per_second, credit, refilled_at_ms, pause: None };
        paced.credit = paced.burst();
        paced
    }

    fn burst(&self) -> i64 {
        i64::try_from(self.bytes_per_second).unwrap_or(i64::MAX)
    }

    fn refill(&mut self) {
        let now_ms = self.clock.monotonic_ms();
        let elapsed_ms = now_ms.saturating_sub(self.refilled_at_ms);
        let earned = elapsed_ms.saturating_mul(self.bytes_per_second) / 1_000;
        if earned == 0 {
            return;
        }
        self.refilled_at_ms = now_ms;
        let earned = i64::try_from(earned).unwrap_or(i64::MAX);
        self.credit = self.credit.saturating_add(earned).min(self.burst());
    }

    /// Ready once there is credit.
    fn poll_credit(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(context));
                self.pause = None;
            }
            if self.credit <= 0 {
                self.refill();
            }
            if self.credit > 0 {
                return Poll::Ready(());
            }
            let missing = u64::try_from(1 - self.credit).unwrap_or(1);
            let wait_ms = (missing * 1_000).div_ceil(self.bytes_per_second).max(1);
            let clock = self.clock.clone();
            self.pause = Some(Box::pin(async move { clock.sleep(Duration::from_millis(wait_ms)).await }));
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_credit(context));
        let before = buffer.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(context, buffer))?;
        let count = buffer.filled().len() - before;
        this.credit -= i64::try_from(count).unwrap_or(i64::MAX);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use async_trait::async_trait;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::clock::Clock;

    /// Time that passes only by being waited for.
    #[derive(Debug, Default)]
    struct Waited(AtomicU64);

    #[async_trait]
    impl Clock for Waited {
        fn unix_ms(&self) -> u64 {
            self.monotonic_ms()
        }

        fn monotonic_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }

        async fn sleep(&self, duration: Duration) {
            self.0.fetch_add(duration.as_millis() as u64, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_flood_is_read_at_the_rate_and_arrives_whole() {
        let clock = Arc::new(Waited::default());
        let flood: Vec<u8> = (0..100_000_u32).map(|n| n as u8).collect();
        let (mut near, far) = tokio::io::duplex(flood.len());
        near.write_all(&flood).await.unwrap();
        drop(near);
        let mut paced = Paced::new(far, clock.clone(), 10_000);
        let mut read = Vec::new();
        paced.read_to_end(&mut read).await.unwrap();
        assert!(read == flood);
        // The first second is free; one read may go beyond the credit.
        let waited_ms = clock.monotonic_ms();
        assert!((5_000..=9_001).contains(&waited_ms), "{waited_ms}");
    }

    #[tokio::test]
    async fn whoever_keeps_to_the_rate_never_waits() {
        let clock = Arc::new(Waited::default());
        let (mut near, far) = tokio::io::duplex(1_000);
        let mut paced = Paced::new(far, clock.clone(), 10_000);
        let mut piece = [0; 1_000];
        for second in 0..100 {
            clock.0.store(second * 100, Ordering::Relaxed);
            near.write_all(&piece).await.unwrap();
            paced.read_exact(&mut piece).await.unwrap();
        }
        assert_eq!(clock.monotonic_ms(), 99 * 100);
    }
}
