//! The TLS handshake with a client: which certificate it is shown, how long it may take, and what is said where it fails.

use std::rc::Rc;
use std::time::Duration;

use super::{answer, plan_of};
use crate::base::metric::Limit;
use crate::base::{Fault, Reason};
use crate::http::Head;
use crate::listen::{Client, Secured, Stopped, deadline};
use crate::ring;
use crate::tls::{Alert, Cause, Handshake, Refused, Store, is_in_date};
use crate::wire::{Failure, Tls};
use crate::worker::{Handshakes, Worker};

/// How long a client may take its alert after a failed handshake.
const GOODBYE: Duration = Duration::from_secs(1);

/// Why a connection is not secured.
enum End {
    /// It ended before an octet of its own.
    Silent,
    /// A handshake failed, or was left.
    Failed(Reason),
}

/// Secures a connection. False: it is over.
pub(super) async fn secure(worker: &Worker, client: &Client, tls: &Tls) -> bool {
    let current = worker.current_of(&client.listener);
    let Some(listener) = plan_of(&current, client) else { return false };
    let Some(store) = current.tls.of(&client.listener) else { return false };
    let end = deadline(client.accepted, listener.1.rules.timeouts.tls);
    let max = current.snapshot.document.listeners[listener.0].tls.handshakes_max;
    let reason = match client.within(end, agree(worker, tls, store, max)).await {
        Ok(Ok(secured)) if has_expired(worker, &secured) => Reason::TlsClientCert,
        Ok(Ok(secured)) => {
            worker.counters.handshakes.add(1);
            return client.tls.set(Rc::new(secured)).is_ok();
        }
        Ok(Err(End::Failed(reason))) => reason,
        Err(Stopped::Late) => Reason::TlsTimeout,
        Ok(Err(End::Silent)) | Err(_) => return false,
    };
    worker.counters.handshakes_failed.add(1);
    answer::bad_head(worker, client, &current, listener, Fault::new(reason), &[], &Head::new()).await;
    if reason != Reason::TlsTimeout {
        // Whoever takes longer was told, and did not listen.
        let _ = client.within(Some(ring::now() + GOODBYE), tls.say_goodbye()).await;
    }
    false
}

/// Whether the client's certificate was good when it was shown, and is not any more: a resumed session brings it along
/// unchecked (RFC 8446 section 4.6.1).
fn has_expired(worker: &Worker, secured: &Secured) -> bool {
    let now = worker.wall.unix_ns(ring::now()) / 1_000_000_000;
    secured.resumed && secured.client_certificate.as_ref().is_some_and(|der| !is_in_date(der, now as i64))
}

/// Waits for a place among the handshakes, which nobody gets who says nothing, and makes this one.
async fn agree(worker: &Worker, tls: &Tls, store: &Store, max: u64) -> Result<Secured, End> {
    tls.begun().await.map_err(|_| End::Silent)?;
    let handshakes = &worker.handshakes;
    let _under_way = match handshakes.try_begin(max) {
        Some(under_way) => under_way,
        None => {
            worker.counters.limit(Limit::Handshakes);
            handshakes.begin().await
        }
    };
    shake(tls, store, handshakes).await.map_err(|failure| match failure {
        Unmade::Refused(Refused::UnknownName) => {
            tls.refuse(Alert::UNRECOGNISED_NAME);
            End::Failed(Reason::TlsUnknownSni)
        }
        Unmade::Failed(Failure::Gone) if tls.socket().received() == 0 => End::Silent,
        Unmade::Failed(Failure::Gone) => End::Failed(Reason::TlsError),
        Unmade::Failed(Failure::Tls(error)) => End::Failed(reason_of(&error)),
    })
}

/// Why there was no handshake, or none that ended well.
enum Unmade {
    Refused(Refused),
    Failed(Failure),
}

impl From<Failure> for Unmade {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

async fn shake(tls: &Tls, store: &Store, handshakes: &Handshakes) -> Result<Secured, Unmade> {
    let (hello, received) = tls.hello().await?;
    handshakes.turn().await;
    // What makes no sense is refused by the session, whichever it is.
    let sni = hello.and_then(|hello| hello.sni);
    let choice = store.choose(sni.as_deref()).map_err(Unmade::Refused)?;
    let handshake = Handshake::server(choice.config, received).map_err(Failure::Tls)?;
    let agreed = tls.handshake(handshake, sni).await?;
    Ok(Secured::new(agreed, choice.shown))
}

fn reason_of(error: &rustls::Error) -> Reason {
    match Cause::from(error) {
        Cause::Version => Reason::TlsVersion,
        Cause::Alpn => Reason::TlsAlpn,
        Cause::Certificate => Reason::TlsClientCert,
        Cause::Other => Reason::TlsError,
    }
}
