//! TLS to an upstream: the handshake on a fresh connection, and what its failures mean.

use std::time::Duration;

use crate::base::{Fault, Reason, Retry};
use crate::ring::{self, Socket, Timer};
use crate::tls::{Agreed, Cause, Outgoing};
use crate::wire::{Failure, Tls, Wire};

/// Makes a handshake within `limit` (zero: no limit); gives what carries octets from then on.
///
/// # Errors
/// Too slow, failed, or a certificate that is not valid: all safe to retry, as no octet of a request has left.
pub async fn secure(
    socket: Socket,
    outgoing: &Outgoing,
    timer: &Timer,
    limit: Duration,
) -> Result<(Wire, Agreed), Fault> {
    let failed = |_| Fault::new(Reason::UpstreamTlsFailed).retry(Retry::Safe);
    let handshake = outgoing.handshake().map_err(failed)?;
    let tls = Box::new(Tls::new(socket));
    timer.set((!limit.is_zero()).then(|| ring::now() + limit));
    match timer.race(tls.handshake(handshake, None)).await {
        Ok(Ok(agreed)) => Ok((Wire::Tls(tls), agreed)),
        Ok(Err(failure)) => {
            // The alert that says why; how the connection ends then is the peer's to see.
            let _ = timer.race(tls.socket().flush()).await;
            Err(fault(&failure))
        }
        Err(_) => Err(Fault::new(Reason::UpstreamTlsTimeout).retry(Retry::Safe)),
    }
}

fn fault(failure: &Failure) -> Fault {
    let is_certificate = matches!(failure, Failure::Tls(error) if Cause::from(error) == Cause::Certificate);
    let reason = if is_certificate { Reason::UpstreamCertInvalid } else { Reason::UpstreamTlsFailed };
    Fault::new(reason).retry(Retry::Safe)
}
