//! The ceiling of a read: a bare hyper server on the runtime that Latchkey has, which gives one
//! recorded answer to everything. Also what both ceilings share: the answer and the accept loop.

use std::convert::Infallible;
use std::fs;
use std::future::Future;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use crate::Result;
use crate::answer::Answer;

/// A recorded answer.
#[derive(Clone, Debug)]
pub(crate) struct Recording {
    status: StatusCode,
    fields: HeaderMap,
    body: Bytes,
}

impl Recording {
    /// Reads a recorded answer. Fields that hyper writes by itself are left to it.
    pub(crate) fn load(file: &Path) -> Result<Self> {
        let bytes = fs::read(file)?;
        let (answer, _) = Answer::read(&bytes)?.ok_or("a recorded answer is not whole")?;
        let mut fields = HeaderMap::new();
        for line in std::str::from_utf8(answer.head)?.lines().skip(1) {
            let Some((name, value)) = line.split_once(": ") else { continue };
            let name: HeaderName = name.parse()?;
            if name != "date" && name != "content-length" {
                fields.append(name, HeaderValue::from_str(value)?);
            }
        }
        let status = StatusCode::from_u16(answer.status)?;
        Ok(Self { status, fields, body: Bytes::copy_from_slice(answer.body) })
    }

    pub(crate) fn answer(&self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body.clone()));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.fields.clone();
        response
    }
}

/// Gives the recorded answer until it is killed.
pub(crate) fn run(recording: &Path) -> Result<()> {
    let recording = Arc::new(Recording::load(recording)?);
    serve(move |_| {
        let recording = Arc::clone(&recording);
        async move { recording.answer() }
    })
}

/// A server with nothing to do at all: what a process needs to start, bind and answer.
pub(crate) fn run_empty() -> Result<()> {
    serve(|_| async { Response::new(Full::new(Bytes::from_static(b"{\"status\":\"ok\"}"))) })
}

/// Serves by hyper alone, on the runtime that the server has, until it is killed.
pub(crate) fn serve<F>(
    answer: impl Fn(Request<Incoming>) -> F + Send + Sync + 'static,
) -> Result<()>
where
    F: Future<Output = Response<Full<Bytes>>> + Send,
{
    let answer = Arc::new(answer);
    latchkey::serve::block_on(async move {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        writeln!(std::io::stdout(), "a ceiling on http://{}", listener.local_addr()?)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let answer = Arc::clone(&answer);
            tokio::spawn(async move {
                let service = service_fn(|request| {
                    let answering = answer(request);
                    async { Ok::<_, Infallible>(answering.await) }
                });
                let http = http1::Builder::new();
                // Clients leave when they are done, which is no failure.
                let _ = http.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    })?
}
