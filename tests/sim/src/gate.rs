//! The gate before every request of a part: nothing passes until the world says so, and the world may lose the request
//! or its answer. So the writes of all parts interleave at the seed's will, and a part that is dropped while it waits
//! has crashed between two writes.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use bytes::Bytes;
use client::{Body, Client, Error, Transport};
use futures::future::BoxFuture;
use http::{Request, Response};

/// What becomes of the next request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permit {
    /// It is carried out and answered.
    Pass,
    /// It never reaches the server.
    LoseRequest,
    /// It is carried out, but the answer is lost.
    LoseAnswer,
}

/// The gate of one part. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    permit: Option<Permit>,
    waiting: Vec<Waker>,
}

impl Gate {
    /// Lets one request through.
    pub fn grant(&self, permit: Permit) {
        let mut state = self.lock();
        state.permit = Some(permit);
        for waker in state.waiting.drain(..) {
            waker.wake();
        }
    }

    /// Takes back a permit that nobody used. True: it was used.
    pub fn close(&self) -> bool {
        self.lock().permit.take().is_none()
    }

    /// A client whose requests wait here.
    pub fn client(&self, client: Client) -> Client {
        Client::new(Arc::new(Gated { gate: self.clone(), client }))
    }

    async fn pass(&self) -> Permit {
        poll_fn(|context| {
            let mut state = self.lock();
            match state.permit.take() {
                Some(permit) => Poll::Ready(permit),
                None => {
                    state.waiting.push(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Gated {
    gate: Gate,
    client: Client,
}

impl Transport for Gated {
    fn send(&self, request: Request<Bytes>) -> BoxFuture<'static, Result<Response<Body>, Error>> {
        let (gate, client) = (self.gate.clone(), self.client.clone());
        Box::pin(async move {
            let lost = || Error::Transport("lost by the simulation".into());
            match gate.pass().await {
                Permit::Pass => client.raw(request).await,
                Permit::LoseRequest => Err(lost()),
                Permit::LoseAnswer => {
                    client.raw(request).await?;
                    Err(lost())
                }
            }
        })
    }
}
