//! The page of metrics, over HTTP/1.
//!
//! ```text
//! GET /metrics   200 and every metric      other paths   404      other methods   405
//! ```
//!
//! A scraper comes every few seconds and is gone again. So few connections are served at a time,
//! with little time for each request and its answer: a connection that sends nothing is closed
//! soon, and further ones wait in the operating system's queue.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Bounds on connections to the endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndpointLimits {
    /// Connections at a time.
    pub(super) connections: usize,
    /// Time for a request and its answer.
    pub(super) timeout: Duration,
}

impl Default for EndpointLimits {
    fn default() -> EndpointLimits {
        EndpointLimits { connections: 16, timeout: Duration::from_secs(10) }
    }
}

/// The format's name, with its version.
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Pause after a connection could not be accepted: most likely the process has no file descriptor
/// left.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Answers requests until the process ends.
pub(super) async fn answer_all(
    listener: TcpListener,
    page: PrometheusHandle,
    limits: EndpointLimits,
) {
    let permits = Arc::new(Semaphore::new(limits.connections));
    loop {
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let page = page.clone();
                tokio::spawn(async move {
                    let _gone = tokio::time::timeout(limits.timeout, serve(stream, page)).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection for metrics was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One request and its answer. What is no HTTP ends the connection.
async fn serve(stream: TcpStream, page: PrometheusHandle) -> Result<(), hyper::Error> {
    let answer = service_fn(move |request| {
        let response = respond(&request, &page);
        async move { Ok::<_, Infallible>(response) }
    });
    hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}

fn respond(request: &Request<Incoming>, page: &PrometheusHandle) -> Response<Full<Bytes>> {
    let (status, text) = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => (StatusCode::OK, Bytes::from(page.render())),
        (&Method::GET | &Method::HEAD, _) => {
            (StatusCode::NOT_FOUND, Bytes::from_static(b"The metrics are at /metrics.\n"))
        }
        _ => {
            (StatusCode::METHOD_NOT_ALLOWED, Bytes::from_static(b"Metrics can be read with GET.\n"))
        }
    };
    let mut response = Response::new(Full::new(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    response
}

#[cfg(test)]
mod tests {
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    /// An endpoint with one metric, and its port.
    async fn start(limits: EndpointLimits) -> u16 {
        let recorder = PrometheusBuilder::new().build_recorder();
        metrics::with_local_recorder(&recorder, || metrics::counter!("answers_total").absolute(42));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(answer_all(listener, recorder.handle(), limits));
        port
    }

    /// Everything that is said on a connection until it ends.
    async fn ask(port: u16, request: &str) -> String {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn there_is_one_page_and_a_hint_for_all_else() {
        let port = start(EndpointLimits::default()).await;
        let page = ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(
            page.starts_with("HTTP/1.1 200 OK\r\n") && page.contains("\nanswers_total 42\n"),
            "{page}"
        );
        assert!(page.contains("content-type: text/plain; version=0.0.4"), "{page}");
        let lost = ask(port, "GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(
            lost.starts_with("HTTP/1.1 404 ") && lost.ends_with("The metrics are at /metrics.\n"),
            "{lost}"
        );
        let sent =
            ask(port, "POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").await;
        assert!(sent.starts_with("HTTP/1.1 405 "), "{sent}");
        assert!(ask(port, "PING\r\n\r\n").await.starts_with("HTTP/1.1 400 "));
    }

    #[tokio::test]
    async fn connections_that_send_nothing_are_closed_and_others_are_served() {
        let port =
            start(EndpointLimits { connections: 2, timeout: Duration::from_millis(50) }).await;
        let mut silent = Vec::new();
        for _ in 0..5 {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\n").await.unwrap();
            silent.push(stream);
        }
        let page = ask(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").await;
        assert!(page.contains("\nanswers_total 42\n"), "{page}");
        for mut stream in silent {
            // Closed, with or without a reset: it ends.
            let mut rest = Vec::new();
            let _closed = stream.read_to_end(&mut rest).await;
            assert!(rest.is_empty());
        }
    }
}
