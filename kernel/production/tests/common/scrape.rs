//! Scraping metrics.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
};

/// What the metrics at `port` say of the one number whose line has all these words.
pub(crate) fn scraped(port: SocketAddr, words: &str) -> u64 {
    let mut stream = TcpStream::connect(port).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\n\r\n").unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let line = text.lines().find(|line| words.split(' ').all(|word| line.contains(word)));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
}
