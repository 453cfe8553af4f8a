//! Unary gRPC calls over plain HTTP/2: a request of one message, an answer of at most one, a status in the trailers.
//!
//! Any number of calls share a connection, each as a stream of its own. Compression, metadata and deadlines of gRPC are absent.

use std::{io::Cursor, net::SocketAddr};

use h2::{RecvStream, client::SendRequest};
use http::{HeaderMap, Method, Request, StatusCode, Version};
use tokio::net::TcpStream;

/// How much etcd may send before it is told that there is room: so much that it never waits for it.
const WINDOW: u32 = 4 << 20;

/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// One connection, as any number of clients hold it.
#[derive(Clone)]
pub(crate) struct Connection {
    send: SendRequest<Cursor<Vec<u8>>>,
    peer: SocketAddr,
}

impl Connection {
    /// Opens one, and has it served as long as the runtime runs.
    pub(crate) async fn open(peer: SocketAddr) -> Result<Self, String> {
        let trouble = |error: &dyn std::error::Error| format!("{peer} takes no connection: {error}");
        let stream = TcpStream::connect(peer).await.map_err(|error| trouble(&error))?;
        stream.set_nodelay(true).map_err(|error| trouble(&error))?;
        let mut builder = h2::client::Builder::new();
        builder.initial_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let (send, connection) = builder.handshake(stream).await.map_err(|error| trouble(&error))?;
        // Its end ends the calls, which say so.
        tokio::spawn(connection);
        Ok(Self { send, peer })
    }

    /// The answer's message, if the call ended well.
    pub(crate) async fn call(&mut self, method: &str, message: &[u8]) -> Result<Vec<u8>, String> {
        let (status, answer) =
            self.exchange(method, message).await.map_err(|error| format!("{} broke off: {error}", self.peer))?;
        if let Some(why) = refusal(status, &answer.headers).or_else(|| refusal(status, &answer.trailers)) {
            return Err(format!("{} refused {method}: {why}", self.peer));
        }
        if !answer.headers.contains_key("grpc-status") && !answer.trailers.contains_key("grpc-status") {
            return Err(format!("{} answered {method} without a gRPC status: is it etcd?", self.peer));
        }
        match answer.body.split_at_checked(PREFIX) {
            Some(([0, length @ ..], message)) if length == (message.len() as u32).to_be_bytes() => Ok(message.to_vec()),
            _ => Err(format!("{} answered {method} with {} bytes that are no message", self.peer, answer.body.len())),
        }
    }

    async fn exchange(&mut self, method: &str, message: &[u8]) -> Result<(StatusCode, Answer), h2::Error> {
        let request = Request::builder()
            .method(Method::POST)
            .version(Version::HTTP_2)
            .uri(format!("http://{}{method}", self.peer))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .expect("each part is well formed");
        let mut body = Vec::with_capacity(PREFIX + message.len());
        body.push(0);
        body.extend_from_slice(&(message.len() as u32).to_be_bytes());
        body.extend_from_slice(message);
        self.send = self.send.clone().ready().await?;
        let (response, mut stream) = self.send.send_request(request, false)?;
        stream.send_data(Cursor::new(body), true)?;
        let (head, received) = response.await?.into_parts();
        Ok((head.status, Answer::receive(head.headers, received).await?))
    }
}

struct Answer {
    headers: HeaderMap,
    body: Vec<u8>,
    trailers: HeaderMap,
}

impl Answer {
    async fn receive(headers: HeaderMap, mut received: RecvStream) -> Result<Self, h2::Error> {
        let mut body = Vec::new();
        while let Some(data) = received.data().await {
            let data = data?;
            received.flow_control().release_capacity(data.len())?;
            body.extend_from_slice(&data);
        }
        let trailers = received.trailers().await?.unwrap_or_default();
        Ok(Self { headers, body, trailers })
    }
}

/// Why the call did not end well, if these headers say so.
fn refusal(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    if status != StatusCode::OK {
        return Some(format!("HTTP status {status}"));
    }
    let text = |name| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let code = text("grpc-status").filter(|code| code != "0")?;
    Some(format!("gRPC status {code}: {}", text("grpc-message").unwrap_or_default()))
}
