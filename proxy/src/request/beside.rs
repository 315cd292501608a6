//! Two things at once in one task: the main one decides when it is over, the other goes on beside it while it lasts.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

/// A future that runs beside others.
pub(super) struct Beside<'f, F: Future> {
    future: Pin<&'f mut F>,
    ended: Option<F::Output>,
}

impl<'f, F: Future> Beside<'f, F> {
    pub(super) fn new(future: Pin<&'f mut F>) -> Self {
        Self { future, ended: None }
    }

    /// Runs `main` to its end, or until the one beside it ends with something that `stops` the main one.
    pub(super) async fn run<T, E>(
        &mut self,
        main: impl Future<Output = T>,
        stops: impl Fn(&F::Output) -> Option<E>,
    ) -> Result<T, E> {
        let mut main = pin!(main);
        poll_fn(|cx| {
            if self.ended.is_none()
                && let Poll::Ready(output) = self.future.as_mut().poll(cx)
            {
                self.ended = Some(output);
            }
            // What is ready counts before what stops: an answer that is there is worth more than a fault beside it.
            if let Poll::Ready(done) = main.as_mut().poll(cx) {
                return Poll::Ready(Ok(done));
            }
            match self.ended.as_ref().and_then(&stops) {
                Some(stop) => Poll::Ready(Err(stop)),
                None => Poll::Pending,
            }
        })
        .await
    }
}
